#include "peft/data/task.h"

#include <algorithm>

namespace peft {

Registry<TaskSpec>& task_registry() {
  static Registry<TaskSpec> registry("task");
  return registry;
}

std::vector<std::string> task_candidates(const std::string& name) {
  if (task_registry().find(name)) return {name};
  std::vector<std::string> found;
  for (const std::string& full : task_registry().names())
    if (names_task(name, full)) found.push_back(full);
  return found;
}

bool names_task(const std::string& name, const std::string& full_name) {
  if (name == full_name) return true;
  const auto slash = full_name.find('/');
  const TaskSpec* spec = task_registry().find(full_name);
  if (task_registry().find(name) || spec == nullptr) return false;
  return (slash != std::string::npos && name == full_name.substr(slash + 1)) ||
         std::find(spec->other_names.begin(), spec->other_names.end(), name) != spec->other_names.end();
}

std::string resolve_task_name(const std::string& name) {
  const auto candidates = task_candidates(name);
  if (!candidates.empty()) return candidates.front();  // of a benchmark: GLUE before SuperGLUE
  static_cast<void>(task_registry().at(name));
  return name;
}

}  // namespace peft
