#pragma once
/// Diagnostic sets that join classes of the adapters they are for: one of MNLI has three classes, AX-b and AX-g have two.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "peft/data/task.h"
#include "peft/train/evaluate.h"

namespace peft {

/// Class of the head -> class of the task, by name (upper and lower case are equal) or by TaskSpec::merged_classes. Nothing where the head's
/// names are the task's own, or where one of them has no class there.
std::optional<std::vector<int64_t>> merged_classes(const std::vector<std::string>& head, const TaskSpec& spec);

/// Predictions of a head with the classes `head`, as classes of the task. The loss has no value there: it is not a number.
Evaluation evaluate_merged(const Transformer& model, Method& method, EncodedSplit split, TaskInfo task,
                           const std::vector<std::string>& head, const std::vector<int64_t>& merged);

}  // namespace peft
