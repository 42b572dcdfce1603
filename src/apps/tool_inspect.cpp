#include "src/apps/tool_inspect.h"

#include <filesystem>
#include <optional>
#include <string>

#include "peft/base/error.h"
#include "peft/base/model_folder.h"
#include "src/apps/main.h"
#include "src/apps/tool_inspect_report.h"

namespace peft {
namespace {

struct Arguments {
  std::string path;
  bool json = false, tensors = false;
};

/// Nothing when the help was asked for and printed.
std::optional<Arguments> parse_arguments(int argc, char** argv) {
  cxxopts::Options options("peft-tool inspect", "What a safetensors file, a model, adapter or run folder holds");
  options.add_options()("path", "file or folder", cxxopts::value<std::string>(), "PATH")(
      "json", "one JSON object instead of a table")("tensors", "list every tensor, also of a model or a file");
  options.parse_positional("path");
  options.positional_help("PATH");
  const auto parsed = parse_command_line(
      options, argc, argv,
      {"peft-tool inspect runs/quickstart/lora/best", "peft-tool inspect models/minilm --tensors --json"});
  if (!parsed) return std::nullopt;
  if (parsed->count("path") > 1) throw_error<ConfigError>("peft-tool inspect: one PATH expected");
  if (parsed->count("path") == 0) throw ConfigError("peft-tool inspect: PATH is missing");
  return Arguments{(*parsed)["path"].as<std::string>(), parsed->count("json") != 0, parsed->count("tensors") != 0};
}

}  // namespace

int tool_inspect(int argc, char** argv) {
  const auto arguments = parse_arguments(argc, argv);
  if (!arguments) return static_cast<int>(ExitCode::done);
  const auto cached =
      std::filesystem::exists(arguments->path) ? std::nullopt : cached_model(arguments->path);  // or a model's name
  const Report report = inspect_path(cached ? cached->string() : arguments->path, arguments->tensors);
  print_result(arguments->json ? report.dump(2) + "\n" : to_table(report));
  return static_cast<int>(ExitCode::done);
}

}  // namespace peft
