#pragma once
/// What one `--adapter DIR` of peft-eval means: which model, which adapter, which rows.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "peft/data/config.h"
#include "peft/train/config.h"

namespace peft {

/// The command line; what is absent comes from the run's config.json.
struct EvalOptions {
  std::optional<std::string> model, task, data, dtype;
  std::optional<int64_t> max_length;
};

struct EvalTarget {
  std::filesystem::path model;
  std::optional<std::filesystem::path> adapter;  ///< absent: `model` is what full fine-tuning wrote, with its own head
  std::string dtype = "float32";
  TaskConfig task;
  DataConfig data;
  std::string fingerprint;     ///< of the model the run was trained on; empty: unknown
  bool length_chosen = false;  ///< task.max_length was given, by the command line or the run
};

/// Looks for an adapter or a model folder in DIR, DIR/best and DIR/last, and for the run's config.json in DIR and above it. A folder
/// written by peft has none: the model then is --model or a local base_model_name_or_path, and --task and --data are required.
/// Throws DataError when there is nothing to evaluate, ConfigError naming the option that is missing.
EvalTarget find_target(const std::filesystem::path& folder, const EvalOptions& options);

/// The config of the run that the folder is or belongs to, and the fingerprint of the model it was trained on.
std::optional<RunConfig> find_run(const std::filesystem::path& folder, std::string& fingerprint);

/// The model under an adapter: the one given, the run's, or a local base_model_name_or_path. Throws ConfigError when there is none.
std::filesystem::path base_model_of(const std::filesystem::path& adapter, const std::optional<std::string>& given,
                                    const std::optional<RunConfig>& run);

}  // namespace peft
