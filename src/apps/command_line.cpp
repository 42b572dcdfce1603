#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <system_error>

#include "peft/base/error.h"
#include "peft/base/peer_names.h"
#include "src/apps/main.h"
#include "src/apps/version.h"

namespace peft {

void print_result(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0 ||
      std::ferror(stdout) != 0) {
    throw_error("stdout: {}", std::generic_category().message(errno));
  }
}

std::string examples_text(const std::vector<std::string>& examples) {
  return examples.empty() ? "" : fmt::format("\nExamples:\n  {}\n", fmt::join(examples, "\n  "));
}

std::optional<cxxopts::ParseResult> parse_command_line(cxxopts::Options& options, int argc, char** argv,
                                                       const std::vector<std::string>& examples) {
  options.add_options()("h,help", "this text")("version", "of this program and of LibTorch");
  try {
    auto parsed = options.parse(argc, argv);
    if (parsed.count("help") != 0) {
      print_result(options.help() + examples_text(examples));
      return std::nullopt;
    }
    if (parsed.count("version") != 0) {
      print_result(fmt::format("{} {}\n", options.program(), version()));
      return std::nullopt;
    }
    if (!parsed.unmatched().empty()) throw_error<ConfigError>("unexpected argument \"{}\"", parsed.unmatched().front());
    return parsed;
  } catch (const cxxopts::exceptions::exception& error) {
    throw ConfigError(error.what());
  }
}

std::vector<std::string> given_values(const cxxopts::ParseResult& parsed, const std::string& option) {
  std::vector<std::string> values;
  for (const cxxopts::KeyValue& argument : parsed.arguments())
    if (argument.key() == option) values.push_back(argument.value());
  return values;
}

void check_choice(const std::string& option, const std::string& value, const std::vector<std::string>& choices) {
  if (std::find(choices.begin(), choices.end(), value) != choices.end()) return;
  throw_error<ConfigError>("--{}: found \"{}\", expected one of {}{}", option, value, fmt::join(choices, ", "),
                           value_hint("model." + option, value, choices));
}

}  // namespace peft
