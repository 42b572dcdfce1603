#pragma once
/// The classes of examples, for whatever draws rows by class: k-shot and stratified splits.

#include <cstdint>
#include <string>
#include <vector>

#include "peft/data/encoded_split.h"
#include "peft/data/task.h"

namespace peft {

struct ExampleClasses {
  std::vector<std::string> names;  ///< of all classes, also of those without examples
  std::vector<int64_t> of;         ///< [examples]
};

/// The task's classes; of a choice its number; of STS-B's scores the lower and the upper half. Throws ConfigError naming `key` where the
/// task has none.
ExampleClasses example_classes(const EncodedSplit& split, const TaskSpec& spec, const std::string& task,
                               const std::vector<std::string>& labels, const std::string& key);

}  // namespace peft
