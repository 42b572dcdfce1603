#include "peft/data/task.h"

namespace peft {

Registry<TaskSpec>& task_registry() {
  static Registry<TaskSpec> registry("task");
  return registry;
}

std::string resolve_task_name(const std::string& name) {
  std::string full = "glue/" + name;
  if (!task_registry().find(name) && task_registry().find(full)) return full;
  task_registry().at(name);
  return name;
}

}  // namespace peft
