#pragma once
/// What one `--adapter DIR` of peft-eval means: which model, which adapter, which rows.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/apps/trained_folder.h"

namespace peft {

/// The command line; what is absent comes from the folder.
struct EvalOptions {
  std::optional<std::string> model, task, data, dtype;
  std::optional<int64_t> max_length;
  std::vector<std::string> sets = {};  ///< KEY=VALUE of the sections task and data
};

struct EvalTarget {
  TrainedFolder folder;
  TaskConfig task;
  DataConfig data;
  bool length_chosen = false;  ///< task.max_length was given, by the command line or the folder
};

/// The rows are those of the run, or such as the folder tells, unless the command line names another task or other files. Throws as
/// find_trained, and ConfigError naming the option that is missing.
EvalTarget find_target(const std::string& folder, const EvalOptions& options);

/// Every row of the official splits: limits and split policies do not count.
void take_official_rows(DataConfig& data);

}  // namespace peft
