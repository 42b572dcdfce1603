#include "src/apps/tool_import.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <filesystem>

#include "peft/base/error.h"
#include "peft/base/log.h"
#include "peft/interop/adapter_folder.h"
#include "peft/tensor/safetensors.h"
#include "src/apps/main.h"

namespace peft {
namespace {

namespace fs = std::filesystem;

std::string last_part(std::string name) {
  if (name.ends_with(".default")) name.resize(name.size() - 8);  // of the adapter, where a state dict was saved whole
  return name.substr(name.rfind('.') + 1);
}

/// Tensors that a method knows, and those of heads, whose names stay whole. Others go to `ignored`.
void add_file(const fs::path& path, ReleasedFiles& released, std::vector<std::string>& ignored) {
  const SafetensorsFile file(path);
  for (const auto& [name, entry] : file.entries()) {
    const std::string last = last_part(name);
    const bool known = is_released_tensor(last), head = name.starts_with(kPromptPrefix);
    if (!known && !head) {
      ignored.push_back(name);
      continue;
    }
    auto& target = known ? released.tensors[last] : released.files.tensors[name];
    if (target.defined()) throw_error<DataError>("{}: tensor {} is there a second time", path.string(), name);
    target = file.tensor(name).to(at::kFloat);
  }
}

ReleasedFiles read_released(const std::vector<std::string>& paths, std::vector<std::string>& ignored) {
  ReleasedFiles released;
  released.files.config = Json::object();
  for (const fs::path path : paths) {
    const bool folder = fs::is_directory(path);
    fs::path file = folder ? path / "adapter_model.safetensors" : path;
    if (folder && !fs::exists(file) && fs::exists(path / "adapter_model.bin")) file = path / "adapter_model.bin";
    add_file(file, released, ignored);  // of a pickle file it says how to convert
    const fs::path config = file.parent_path() / "adapter_config.json";
    if (released.files.config.empty() && fs::exists(config)) {
      released.files.config = read_json_file<DataError>(config);
      if (!released.files.config.is_object())
        throw_error<DataError>("{}: found {}, expected an object", config.string(), released.files.config.type_name());
    }
    if (released.files.origin.empty()) released.files.origin = file.parent_path().string();
  }
  return released;
}

}  // namespace

int tool_import(int argc, char** argv) {
  cxxopts::Options options("peft-tool import", "An adapter folder from files that a method's authors released");
  options.add_options()("files", "safetensors files, or folders with adapter_model.safetensors",
                        cxxopts::value<std::vector<std::string>>(),
                        "PATH")("output", "adapter folder to write", cxxopts::value<std::string>(), "DIR")(
      "model", "what base_model_name_or_path becomes", cxxopts::value<std::string>(), "DIR")(
      "interleaved", "a prefix table whose keys and values alternate column by column");
  options.parse_positional("files");
  options.positional_help("PATH...");
  const auto parsed = parse_command_line(
      options, argc, argv,
      {"peft-tool import released/prompt.safetensors --model models/minilm --output adapters/released"});
  if (!parsed) return static_cast<int>(ExitCode::done);
  std::vector<std::string> paths;
  for (const cxxopts::KeyValue& argument : parsed->arguments()) {  // as given: cxxopts would split a path at its commas
    if (argument.key() == "files") paths.push_back(argument.value());
  }
  if (paths.empty()) throw ConfigError("peft-tool import: the files are missing");
  const auto output = given<std::string>(*parsed, "output");
  if (!output) throw ConfigError("peft-tool import: --output is missing");
  if (fs::exists(*output) && !(fs::is_directory(*output) && fs::is_empty(*output)))
    throw_error<ConfigError>("--output {}: already exists", *output);

  std::vector<std::string> ignored;
  ReleasedFiles released = read_released(paths, ignored);
  released.interleaved = parsed->count("interleaved") != 0;
  AdapterFiles files = import_released(released);
  if (const auto model = given<std::string>(*parsed, "model")) files.config["base_model_name_or_path"] = *model;
  if (!ignored.empty()) log_warning("{}: ignored: {}", released.files.origin, fmt::join(ignored, ", "));
  write_adapter(*output, files);
  return static_cast<int>(ExitCode::done);
}

}  // namespace peft
