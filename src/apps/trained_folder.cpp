#include "src/apps/trained_folder.h"

#include "peft/base/error.h"
#include "peft/base/files.h"
#include "peft/base/json.h"
#include "peft/base/log.h"
#include "peft/base/model_folder.h"
#include "peft/data/task.h"
#include "peft/interop/adapter_folder.h"
#include "peft/interop/description.h"

namespace peft {
namespace {

namespace fs = std::filesystem;

/// Hugging Face's config.json of a model, as against the config.json of a run.
bool is_model_folder(const fs::path& folder) {
  if (!path_exists(folder / "config.json")) return false;
  const Json config = read_json_file<DataError>(folder / "config.json");
  return config.is_object() && config.contains("model_type");
}

/// The folder itself, its best/ or its last/, when that is a model of full fine-tuning and no adapter.
std::optional<fs::path> find_model(const fs::path& folder) {
  for (const fs::path& candidate : {folder, folder / "best", folder / "last"}) {
    if (path_exists(candidate / "adapter_config.json")) return std::nullopt;
    if (is_model_folder(candidate)) return candidate;
  }
  return std::nullopt;
}

/// The config of the run that the folder is or belongs to, and the fingerprint of the model it was trained on.
std::optional<RunConfig> find_run(const fs::path& folder, std::string& fingerprint) {
  const fs::path own = fs::absolute(folder / ".").lexically_normal();  // ends in "/", whose parent is the folder itself
  for (const fs::path& place : {own.parent_path(), own.parent_path().parent_path()}) {
    const fs::path file = place / "config.json";
    if (!path_exists(file)) continue;
    const Json config = read_json_file<ConfigError>(file, JsonComments::allow);
    if (!config.is_object() || !config.contains("method") || !config.contains("task")) continue;
    const Json provenance = config.value("provenance", Json()),
               model = provenance.is_object() ? provenance.value("model", Json()) : Json();
    if (model.is_string()) fingerprint = model.get<std::string>();
    return RunConfig::from_json(config, file.string());
  }
  return std::nullopt;
}

/// The model under an adapter: the one given, the run's, or a local base_model_name_or_path.
fs::path base_model_of(const fs::path& adapter, const std::optional<std::string>& given,
                       const std::optional<RunConfig>& run) {
  if (given) return find_model_folder(*given);
  if (run && path_exists(run->model.path)) return run->model.path;
  std::string name;
  const AdapterFiles files{
      .config = read_json_file<DataError>(adapter / "adapter_config.json"), .tensors = {}, .origin = adapter.string()};
  if (files.config.is_object()) files.read("base_model_name_or_path", name);
  if (!name.empty() && path_exists(fs::path(name) / "config.json")) return name;
  if (const auto cached = cached_model(name)) return *cached;
  if (run) return run->model.path;  // whoever opens it says what is wrong
  throw_error<ConfigError>(
      "{}: --model DIR is missing: no run config lies beside the adapter, and its base_model_name_or_path \"{}\" is no "
      "folder here and not in Hugging Face's cache",
      adapter.string(), name);
}

/// Whether the run wrote the folder: else it was moved there.
bool is_of(const Description& told, const RunConfig& run, const std::string& fingerprint) {
  return told.task.name == resolve_task_name(run.task.name) && told.task.max_length == run.task.max_length &&
         told.method == run.method->type && (fingerprint.empty() || told.fingerprint == fingerprint);
}

}  // namespace

TrainedFolder find_trained(const std::string& folder, const std::optional<std::string>& model) {
  TrainedFolder found;
  found.name = folder;
  const std::optional<fs::path> whole = find_model(folder);
  if (!whole) found.adapter = find_adapter(folder);
  const std::optional<Description> told = read_description(whole ? *whole : *found.adapter);
  std::optional<RunConfig> run;
  try {
    run = find_run(folder, found.fingerprint);
  } catch (const ConfigError& error) {
    if (!told) throw;
    log_warning("{}; what {} itself tells is enough", error.what(), folder);
  }
  if (run && told && !is_of(*told, *run, found.fingerprint)) run.reset();
  if (whole) {
    if (model) log_warning("{}: --model is not used: the folder is a whole model", whole->string());
    found.model = *whole;
    found.fingerprint.clear();  // a new model came out of the run
  } else {
    found.model = base_model_of(*found.adapter, model, run);
    if (told) found.fingerprint = told->fingerprint;
  }
  found.of_run = run.has_value();
  if (run) {
    found.task = run->task;
    found.data = run->data;
    found.dtype = run->model.dtype;
  } else if (told) {
    found.task = told->task;
    found.data = told->data;
    found.dtype = told->dtype;
  }
  if (found.task) found.task->name = resolve_task_name(found.task->name);
  return found;
}

void warn_of_another_model(const TrainedFolder& folder, const Transformer& model) {
  if (folder.fingerprint.empty() || model.fingerprint() == folder.fingerprint) return;
  log_warning("{}: {} is not the model this adapter was trained on", folder.name, folder.model.string());
}

}  // namespace peft
