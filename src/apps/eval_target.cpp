#include "src/apps/eval_target.h"

#include "peft/base/error.h"
#include "peft/data/task.h"
#include "src/apps/data_sets.h"

namespace peft {

void take_official_rows(DataConfig& data) {
  data.limit = {};
  data.split = {.compat = data.split.compat, .dept_metrics = data.split.dept_metrics};
}

EvalTarget find_target(const std::string& folder, const EvalOptions& options) {
  EvalTarget target{.folder = find_trained(folder, options.model), .task = {}, .data = {}};
  if (options.dtype) target.folder.dtype = *options.dtype;
  if (target.folder.task) target.task = *target.folder.task;
  target.data = target.folder.data;
  target.length_chosen = target.folder.task.has_value();
  if (options.task) static_cast<void>(resolve_task_name(*options.task));  // an unknown one is told before all else
  if (options.task && names_task(*options.task, target.task.name)) {
    if (options.data) target.task.name = *options.task;  // "rte" of other files may be the other benchmark's
  } else if (options.task) {
    if (!options.data) throw_error<ConfigError>("{}: --data PATH is missing for --task {}", folder, *options.task);
    target.task.name = *options.task;
    target.data = {};  // columns and labels were those of the other task
  }
  if (target.task.name.empty())
    throw_error<ConfigError>(
        "{}: --task NAME and --data PATH are missing: neither task.json nor the config of a run tells the task",
        folder);
  if (!target.folder.of_run && !options.data)
    throw_error<ConfigError>("{}: --data PATH is missing: the folder tells its task, {}, but no data", folder,
                             target.task.name);
  if (options.data) {
    target.task.data = *options.data;
    target.data.files.clear();
    take_official_rows(target.data);
  }
  if (options.max_length) {
    target.task.max_length = *options.max_length;
    target.length_chosen = true;
  }
  apply_data_sets(target.task, target.data, options.sets);
  return target;
}

}  // namespace peft
