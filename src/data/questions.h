#pragma once
/// Questions whose answers are parts of a text (docs/tasks.md#answers-in-texts): what the tasks of that kind share.

#include <string>
#include <vector>

#include "peft/data/task.h"

namespace peft {

TaskSpec question_task(bool may_lack_answer, const std::vector<std::string>& other_names);

}  // namespace peft
