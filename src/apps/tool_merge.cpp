#include "src/apps/tool_merge.h"

#include <filesystem>

#include "peft/base/error.h"
#include "peft/base/log.h"
#include "peft/interop/adapter_folder.h"
#include "peft/interop/description.h"
#include "peft/interop/labels.h"
#include "src/apps/eval_target.h"
#include "src/apps/main.h"

namespace peft {
namespace {

namespace fs = std::filesystem;

/// Names of the N labels: the adapter's, else the run's, else the model's own where it has as many, else LABEL_0, ...; none for one
/// output.
std::vector<std::string> label_names(const LoadedAdapter& loaded, const std::optional<RunConfig>& run,
                                     const fs::path& model) {
  const int64_t outputs = loaded.outputs;
  const auto count = static_cast<std::size_t>(outputs);
  if (loaded.labels.size() == count) return loaded.labels;
  if (run && run->data.labels.size() == count) return run->data.labels;
  if (outputs == 1) return {};
  std::vector<std::string> names = model_labels(model, outputs);
  for (int64_t i = static_cast<int64_t>(names.size()); i < outputs; ++i) names.push_back("LABEL_" + std::to_string(i));
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
  const auto parsed = parse_command_line(options, argc, argv);
  if (!parsed) return static_cast<int>(ExitCode::done);
  if (parsed->count("adapter") != 1) throw ConfigError("peft-tool merge: one ADAPTER folder expected");
  const auto output = given<std::string>(*parsed, "output");
  if (!output) throw ConfigError("peft-tool merge: --output is missing");
  if (fs::exists(*output) && !(fs::is_directory(*output) && fs::is_empty(*output)))
    throw_error<ConfigError>("--output {}: already exists", *output);

  std::string fingerprint;  // of the model the run was trained on
  const auto run = find_run(path, fingerprint);
  if (run && run->method->writes_model_folder())
    throw_error<ConfigError>("{}: full fine-tuning wrote a whole model: there is nothing to merge", path);
  const fs::path adapter = find_adapter(path);
  const fs::path base = base_model_of(adapter, given<std::string>(*parsed, "model"), run);
  Transformer model = Transformer::load(base, "float32");
  if (!fingerprint.empty() && model.fingerprint() != fingerprint)
    log_warning("{}: {} is not the model this adapter was trained on", path, base.string());
  const LoadedAdapter loaded = load_adapter(model, adapter);
  AdapterFiles files;
  try {
    files.tensors = loaded.method->merged(0);
  } catch (const ConfigError& error) {  // its keys are those of the adapter
    throw_error<ConfigError>("{}: {}", adapter.string(), error.what());
  }
  files.labels = label_names(loaded, run, base);
  if (const auto told = read_description(adapter))
    files.documents = {{"task.json", to_text(*told)}, {"README.md", model_card(*told, files.labels, "")}};
  write_model_folder(*output, files, model);
  return static_cast<int>(ExitCode::done);
}

}  // namespace peft
