#include "src/apps/main.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <new>
#include <string>
#include <string_view>
#include <system_error>

#include "peft/base/error.h"
#include "peft/base/json.h"
#include "peft/base/peer_names.h"
#include "src/apps/version.h"

namespace peft {
namespace {

/// One line, and the program's name in front exactly once: subcommands put theirs ("peft-tool score: ...") into their messages.
int report(std::string_view name, std::string message, ExitCode code) {
  while (message.ends_with('\n')) message.pop_back();
  for (char& c : message) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  fmt::print(stderr, "{}{}{}\n", message.starts_with(name) ? "" : name, message.starts_with(name) ? "" : ": ", message);
  return static_cast<int>(code);
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

}  // namespace

int run_program(const char* name, int argc, char** argv, const std::function<int(int, char**)>& body) {
  std::signal(SIGXFSZ, SIG_IGN);  // a file size limit is an error of the write, like a full disk
  try {
    const int status = body(argc, argv);
    print_result("");  // what the body has left in the buffer
    return status;
  } catch (const Error& error) {
    return report(name, error.what(), error.code());
  } catch (const c10::Error& error) {
    return report(name, first_line(error.what_without_backtrace()), ExitCode::other);
  } catch (const std::bad_alloc&) {
    return report(name, "out of memory", ExitCode::other);
  } catch (const std::filesystem::filesystem_error& error) {
    return report(name, fmt::format("{}: {}", error.path1().string(), error.code().message()), ExitCode::other);
  } catch (const std::exception& error) {
    return report(name, first_line(error.what()), ExitCode::other);
  } catch (...) {
    return report(name, "unknown error", ExitCode::other);
  }
}

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
