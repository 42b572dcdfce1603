#pragma once
/// The command line of peft-eval.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/apps/eval_target.h"

namespace peft {

struct EvalArguments {
  std::vector<std::string> adapters;
  EvalOptions options;
  std::string split = "dev";  ///< as given: the task decides which there are
  std::string device = "auto";
  std::optional<std::string> predictions, logits;
  int64_t resamples = 1000;  ///< behind an interval of one score (docs/tasks.md#intervals); 0: no intervals
  uint64_t seed = 0;
};

/// Nothing when the help was asked for and printed. Throws ConfigError.
std::optional<EvalArguments> parse_eval_arguments(int argc, char** argv);

}  // namespace peft
