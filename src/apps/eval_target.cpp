#include "src/apps/eval_target.h"

#include <system_error>

#include "peft/base/error.h"
#include "peft/base/json.h"
#include "peft/base/log.h"
#include "peft/data/task.h"
#include "peft/interop/adapter_folder.h"
#include "peft/interop/description.h"
#include "peft/train/config.h"

namespace peft {
namespace {

namespace fs = std::filesystem;

bool present(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

/// Hugging Face's config.json of a model, as against the config.json of a run.
bool is_model_folder(const fs::path& folder) {
  if (!present(folder / "config.json")) return false;
  const Json config = read_json_file<DataError>(folder / "config.json");
  return config.is_object() && config.contains("model_type");
}

/// The folder itself, its best/ or its last/, when that is a model of full fine-tuning and no adapter.
std::optional<fs::path> find_model(const fs::path& folder) {
  for (const fs::path& candidate : {folder, folder / "best", folder / "last"}) {
    if (present(candidate / "adapter_config.json")) return std::nullopt;
    if (is_model_folder(candidate)) return candidate;
  }
  return std::nullopt;
}

/// Rows: those of the run, or such as the folder tells, unless the command line names another task or other files.
void choose_rows(const fs::path& folder, const EvalOptions& options, const std::optional<RunConfig>& run,
                 const std::optional<Description>& told, EvalTarget& target) {
  if (run) {
    target.task = run->task;
    target.data = run->data;
  } else if (told) {
    target.task = told->task;
    target.data = told->data;
  }
  target.length_chosen = run || told;
  if (options.task &&
      (target.task.name.empty() || resolve_task_name(*options.task) != resolve_task_name(target.task.name))) {
    if (!options.data)
      throw_error<ConfigError>("{}: --data PATH is missing for --task {}", folder.string(), *options.task);
    target.task.name = *options.task;
    target.data = {};  // columns and labels were those of the other task
  }
  if (target.task.name.empty())
    throw_error<ConfigError>(
        "{}: --task NAME and --data PATH are missing: neither task.json nor the config of a run tells the task",
        folder.string());
  if (!run && !options.data)
    throw_error<ConfigError>("{}: --data PATH is missing: the folder tells the task, {}, and no data", folder.string(),
                             target.task.name);
  if (options.data) {
    target.task.data = *options.data;
    target.data.files.clear();
    target.data.limit = {};
  }
  if (options.max_length) {
    target.task.max_length = *options.max_length;
    target.length_chosen = true;
  }
}

}  // namespace

std::optional<RunConfig> find_run(const fs::path& folder, std::string& fingerprint) {
  const fs::path own = fs::absolute(folder / ".").lexically_normal();  // ends in "/", whose parent is the folder itself
  for (const fs::path& place : {own.parent_path(), own.parent_path().parent_path()}) {
    const fs::path file = place / "config.json";
    if (!present(file)) continue;
    const Json config = read_json_file<ConfigError>(file, JsonComments::allow);
    if (!config.is_object() || !config.contains("method") || !config.contains("task")) continue;
    const Json model = config.value(Json::json_pointer("/provenance/model"), Json());
    if (model.is_string()) fingerprint = model.get<std::string>();
    return RunConfig::from_json(config, file.string());
  }
  return std::nullopt;
}

fs::path base_model_of(const fs::path& adapter, const std::optional<std::string>& given,
                       const std::optional<RunConfig>& run) {
  if (given) return *given;
  if (run) return run->model.path;
  std::string name;
  const AdapterFiles files{
      .config = read_json_file<DataError>(adapter / "adapter_config.json"), .tensors = {}, .origin = adapter.string()};
  if (files.config.is_object()) files.read("base_model_name_or_path", name);
  if (!name.empty() && present(fs::path(name) / "config.json")) return name;
  throw_error<ConfigError>(
      "{}: --model DIR is missing: no run config lies beside the adapter, and its base_model_name_or_path \"{}\" is no "
      "folder here",
      adapter.string(), name);
}

EvalTarget find_target(const fs::path& folder, const EvalOptions& options) {
  EvalTarget target;
  auto run = find_run(folder, target.fingerprint);
  const std::optional<fs::path> whole = find_model(folder);
  if (!whole) target.adapter = find_adapter(folder);
  const std::optional<Description> told = read_description(whole ? *whole : *target.adapter);
  // The config above a folder that was moved is that of another run.
  if (run && told && resolve_task_name(run->task.name) != resolve_task_name(told->task.name)) run.reset();
  if (whole) {
    if (options.model) log_warning("{}: --model is not used: the folder is a whole model", whole->string());
    target.model = *whole;
    target.fingerprint.clear();  // a new model came out of the run
  } else {
    target.model = base_model_of(*target.adapter, options.model, run);
    if (told) target.fingerprint = told->fingerprint;
  }
  if (told) target.dtype = told->dtype;
  if (run) target.dtype = run->model.dtype;
  if (options.dtype) target.dtype = *options.dtype;
  choose_rows(folder, options, run, told, target);
  return target;
}

}  // namespace peft
