#pragma once
/// What a folder given as `--adapter DIR` is, before anything is loaded: DIR, its best/ or its last/, what these tell of themselves, and the
/// run around them.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "peft/models/transformer.h"
#include "peft/train/config.h"

namespace peft {

struct TrainedFolder {
  std::string name;                              ///< as it was given
  std::filesystem::path model;                   ///< the backbone, or the whole model
  std::optional<std::filesystem::path> adapter;  ///< absent: `model` is a whole model with its own head
  std::string dtype = "float32";
  std::string fingerprint;         ///< of the backbone that it was trained on; empty: not told
  std::optional<TaskConfig> task;  ///< full name, max_length and, of a run, the data's path; absent: not told
  DataConfig data;                 ///< of a run all, else how files are read
  bool of_run = false;             ///< the run's config told all this
};

/// `model` is what the user says. A run's config goes before task.json, unless its task is another one: the folder was moved there then.
/// Throws DataError where the folder holds nothing that was trained, ConfigError where nobody tells the model.
TrainedFolder find_trained(const std::string& folder, const std::optional<std::string>& model);

/// Where the backbone is known to be another one.
void warn_of_another_model(const TrainedFolder& folder, const Transformer& model);

}  // namespace peft
