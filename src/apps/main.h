#pragma once
/// What every program shares: errors as one line on stderr with its exit code (README.md#exit-codes), and the command line.

#include <cxxopts.hpp>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace peft {

/// Runs `body` and returns the exit status. Whatever it throws becomes one line `NAME: what happened` on stderr; results that could
/// not be written to stdout (a full disk) are an error too.
int run_program(const char* name, int argc, char** argv, const std::function<int(int, char**)>& body);

/// Writes to stdout and flushes. Throws Error `stdout: REASON`.
void print_result(std::string_view text);

/// Parses argv[1..]. Nothing when the help, which ends in `examples`, or the version was asked for and printed. Throws ConfigError for
/// unknown options, wrong values, and positional arguments that `options` does not name.
std::optional<cxxopts::ParseResult> parse_command_line(cxxopts::Options& options, int argc, char** argv,
                                                       const std::vector<std::string>& examples = {});

/// The end of a help: whole command lines.
std::string examples_text(const std::vector<std::string>& examples);

/// The value of an option when it was given.
template <class T>
std::optional<T> given(const cxxopts::ParseResult& parsed, const std::string& option) {
  return parsed.count(option) == 0 ? std::nullopt : std::optional(parsed[option].as<T>());
}

/// All values of a repeatable option as they were given: cxxopts would split them at their commas.
std::vector<std::string> given_values(const cxxopts::ParseResult& parsed, const std::string& option);

/// Throws ConfigError `--OPTION: found "x", expected one of ...` with the nearest choice.
void check_choice(const std::string& option, const std::string& value, const std::vector<std::string>& choices);

}  // namespace peft
