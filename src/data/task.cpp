#include "peft/data/task.h"

namespace peft {

Registry<TaskSpec>& task_registry() {
  static Registry<TaskSpec> registry("task");
  return registry;
}

std::string resolve_task_name(const std::string& name) {
  if (task_registry().find(name)) return name;
  for (const char* benchmark : {"glue/", "superglue/"})
    if (task_registry().find(benchmark + name)) return benchmark + name;
  task_registry().at(name);
  return name;
}

}  // namespace peft
