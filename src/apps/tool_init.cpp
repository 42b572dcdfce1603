#include "src/apps/tool_init.h"

#include <filesystem>

#include "peft/base/error.h"
#include "peft/base/files.h"
#include "peft/base/log.h"
#include "peft/base/model_folder.h"
#include "peft/train/config.h"
#include "peft/train/starter_config.h"
#include "src/apps/main.h"

namespace peft {
namespace {

namespace fs = std::filesystem;

/// The config may be written before its model and data are there.
void mention_missing(const RunConfig& config) {
  if (!fs::exists(config.model.path)) log_warning("model.path: nothing lies at {} yet", config.model.path);
  if (!fs::exists(config.task.data)) log_warning("task.data: nothing lies at {} yet", config.task.data);
}

}  // namespace

int tool_init(int argc, char** argv) {
  cxxopts::Options options("peft-tool init",
                           "A commented run config for one method and task, which trains as it stands");
  StarterOptions starter;
  options.add_options()("method", "peft-tool list methods", cxxopts::value(starter.method), "NAME")(
      "task", "peft-tool list tasks", cxxopts::value(starter.task), "NAME")(
      "model", "model folder, or a name in Hugging Face's cache",
      cxxopts::value(starter.model)->default_value(starter.model),
      "DIR")("data", "folder or file of the task; without it data/NAME", cxxopts::value<std::string>(), "PATH")(
      "output", "file to write; without it stdout", cxxopts::value<std::string>(), "FILE");
  const auto parsed = parse_command_line(
      options, argc, argv,
      {"peft-tool init --method prefix --task rte --data data/RTE > rte.json",
       "peft-tool init --method lora --task classification --data examples/wordnet_gloss --output gloss.json"});
  if (!parsed) return static_cast<int>(ExitCode::done);
  for (const char* required : {"method", "task"}) {
    if (parsed->count(required) == 0)
      throw_error<ConfigError>("peft-tool init: --{0} NAME is missing (peft-tool list {0}s)", required);
  }
  starter.data = given<std::string>(*parsed, "data");
  const std::string text = starter_config(starter);
  const std::string file = given<std::string>(*parsed, "output").value_or("");
  mention_missing(RunConfig::from_json(parse_json(text, file, JsonComments::allow), file));
  if (file.empty()) {
    print_result(text);
  } else {
    if (fs::exists(file)) throw_error<ConfigError>("--output {}: already exists", file);
    write_atomic(file, text);
    print_result(fmt::format("{}: written; peft-train --config {} --dry-run tells what it does\n", file, file));
  }
  return static_cast<int>(ExitCode::done);
}

}  // namespace peft
