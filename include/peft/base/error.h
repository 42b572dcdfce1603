#pragma once
/// Errors of the whole program: one exception type per audience, each with the process exit code it ends in.

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace peft {

/// Exit codes of every program (README.md#exit-codes).
enum class ExitCode : int {
  done = 0,
  other = 1,        ///< anything not named below: disk full, run folder in use
  config = 2,       ///< bad usage or configuration
  data = 3,         ///< bad model, adapter or data file
  guard = 4,        ///< training stopped by a guard (NaN, divergence)
  interrupted = 75  ///< saved and stopped on a signal; run again with --resume
};

/// Base of all errors. what() is one line: the file, the line or key, what was found, what was expected.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, ExitCode code = ExitCode::other)
      : std::runtime_error(message), code_(code) {}
  ExitCode code() const noexcept { return code_; }

 private:
  ExitCode code_;
};

/// The user's command line or configuration is wrong.
class ConfigError : public Error {
 public:
  explicit ConfigError(const std::string& message) : Error(message, ExitCode::config) {}
};

/// A file of the user (model, adapter, tokenizer, data) is wrong.
class DataError : public Error {
 public:
  explicit DataError(const std::string& message) : Error(message, ExitCode::data) {}
};

/// throw_error<DataError>("{}:{}: {} columns, expected {}", file, line, found, expected)
template <class E = Error, class... Args>
[[noreturn]] void throw_error(fmt::format_string<Args...> format, Args&&... args) {
  throw E(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace peft
