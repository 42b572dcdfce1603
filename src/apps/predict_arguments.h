#pragma once
/// The command line of peft-predict.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "peft/data/rows.h"

namespace peft {

struct PredictArguments {
  std::vector<std::string> adapters;
  std::optional<std::string> model, task, dtype, output;
  std::optional<int64_t> max_length;
  std::string input, device = "auto";  ///< input: a file, or kStandardInput
  FileFormat format = FileFormat::jsonl;
};

/// Nothing when the help was asked for and printed. Throws ConfigError.
std::optional<PredictArguments> parse_predict_arguments(int argc, char** argv);

}  // namespace peft
