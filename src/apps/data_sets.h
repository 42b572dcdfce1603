#pragma once
/// `--set KEY.PATH=VALUE` of programs that read data without a run config.

#include <string>
#include <vector>

#include "peft/data/config.h"

namespace peft {

/// Sets keys of the sections `task` and `data`, as peft-train --set does. Throws ConfigError on an unknown key or a value that does not fit.
void apply_data_sets(TaskConfig& task, DataConfig& data, const std::vector<std::string>& sets);

}  // namespace peft
