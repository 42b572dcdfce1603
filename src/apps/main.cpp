#include "src/apps/main.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <new>
#include <string>
#include <string_view>

#include "peft/base/error.h"

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

}  // namespace peft
