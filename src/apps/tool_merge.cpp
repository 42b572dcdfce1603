#include "src/apps/tool_merge.h"

#include <filesystem>

#include "peft/base/error.h"
#include "peft/base/log.h"
#include "peft/data/task.h"
#include "peft/interop/adapter_folder.h"
#include "peft/interop/description.h"
#include "peft/interop/labels.h"
#include "src/apps/main.h"
#include "src/apps/trained_folder.h"

namespace peft {
namespace {

namespace fs = std::filesystem;

/// Names of the N labels: the adapter's, else the run's, else the task's, else LABEL_0, ...; none for one output. Never those of the base
/// model, whose head was another one.
std::vector<std::string> label_names(const LoadedAdapter& loaded, const TrainedFolder& folder) {
  const int64_t outputs = loaded.outputs;
  const auto count = static_cast<std::size_t>(outputs);
  if (loaded.labels.size() == count) return loaded.labels;
  if (folder.data.labels.size() == count) return folder.data.labels;
  if (outputs == 1) return {};
  if (folder.task) {
    const auto& of_task = task_registry().at(folder.task->name).labels;
    if (of_task.size() == count) return of_task;
  }
  std::vector<std::string> names;
  for (int64_t i = 0; i < outputs; ++i) names.push_back("LABEL_" + std::to_string(i));
  return names;
}

}  // namespace

int tool_merge(int argc, char** argv) {
  cxxopts::Options options("peft-tool merge", "A whole model folder with the adapter folded into its weights");
  std::string path;
  options.add_options()("adapter", "adapter or run folder", cxxopts::value(path), "DIR")(
      "output", "model folder to write", cxxopts::value<std::string>(), "DIR")(
      "model", "model folder the adapter belongs to; without it the run's, or the one the adapter names",
      cxxopts::value<std::string>(), "DIR");
  options.parse_positional("adapter");
  options.positional_help("ADAPTER");
  const auto parsed =
      parse_command_line(options, argc, argv, {"peft-tool merge runs/quickstart/lora --output models/merged"});
  if (!parsed) return static_cast<int>(ExitCode::done);
  if (parsed->count("adapter") != 1) throw ConfigError("peft-tool merge: one ADAPTER folder expected");
  const auto output = given<std::string>(*parsed, "output");
  if (!output) throw ConfigError("peft-tool merge: --output is missing");
  if (fs::exists(*output) && !(fs::is_directory(*output) && fs::is_empty(*output)))
    throw_error<ConfigError>("--output {}: already exists", *output);

  const TrainedFolder folder = find_trained(path, given<std::string>(*parsed, "model"));
  if (!folder.adapter) throw_error<ConfigError>("{}: it holds a whole model: there is nothing to merge", path);
  const fs::path& adapter = *folder.adapter;
  Transformer model = Transformer::load(folder.model, "float32");
  warn_of_another_model(folder, model);
  const LoadedAdapter loaded = load_adapter(model, adapter);
  AdapterFiles files;
  try {
    files.tensors = loaded.method->merged(0);
  } catch (const ConfigError& error) {  // its keys are those of the adapter
    throw_error<ConfigError>("{}: {}", adapter.string(), error.what());
  }
  files.labels = label_names(loaded, folder);
  if (const auto told = read_description(adapter))
    files.documents = {{"task.json", to_text(*told)}, {"README.md", model_card(*told, files.labels, "")}};
  write_model_folder(*output, files, model);
  return static_cast<int>(ExitCode::done);
}

}  // namespace peft
