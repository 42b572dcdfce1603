#pragma once
/// Messages for people, on stderr, one line each. Results go to stdout or files, never here.

#include <fmt/format.h>

#include <string_view>
#include <utility>

namespace peft {

void log_line(std::string_view level,
              std::string_view message);  ///< "info" or "warning"; through spdlog, keeps a progress line intact

template <class... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  log_line("info", fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  log_line("warning", fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace peft
