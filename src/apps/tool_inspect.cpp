#include "src/apps/tool_inspect.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cxxopts.hpp>
#include <optional>
#include <string>
#include <system_error>

#include "peft/base/error.h"
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
      "json", "one JSON object instead of a table")("tensors", "list every tensor, also of a model or a file")(
      "h,help", "this text");
  options.parse_positional("path");
  options.positional_help("PATH");
  try {
    const auto parsed = options.parse(argc, argv);
    if (parsed.count("help") != 0) {
      fmt::print("{}", options.help());
      return std::nullopt;
    }
    if (!parsed.unmatched().empty() || parsed.count("path") > 1) {
      throw_error<ConfigError>("peft-tool inspect: one PATH expected");
    }
    if (parsed.count("path") == 0) throw ConfigError("peft-tool inspect: PATH is missing");
    return Arguments{parsed["path"].as<std::string>(), parsed.count("json") != 0, parsed.count("tensors") != 0};
  } catch (const cxxopts::exceptions::exception& error) {
    throw_error<ConfigError>("peft-tool inspect: {}", error.what());
  }
}

}  // namespace

int tool_inspect(int argc, char** argv) {
  const auto arguments = parse_arguments(argc, argv);
  if (!arguments) return static_cast<int>(ExitCode::done);
  const Report report = inspect_path(arguments->path, arguments->tensors);
  const std::string text = arguments->json ? report.dump(2) + "\n" : to_table(report);
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    throw_error("stdout: {}", std::generic_category().message(errno));
  }
  return static_cast<int>(ExitCode::done);
}

}  // namespace peft
