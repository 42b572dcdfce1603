#pragma once
/// Reads the file of a run or sweep config. Private to src/train.

#include <filesystem>
#include <string>
#include <vector>

#include "peft/base/json.h"

namespace peft {

/// The JSON of a config with the assignments of --set. Throws ConfigError; of a file that is YAML it says how to convert it.
Json read_config_file(const std::filesystem::path& file, const std::vector<std::string>& sets);

}  // namespace peft
