#include "peft/base/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/base_sink.h>

#include <memory>
#include <mutex>
#include <string>

#include "src/base/terminal_line.h"

namespace peft {
namespace {

/// stderr, around the progress line.
class TerminalSink final : public spdlog::sinks::base_sink<std::mutex> {
 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    write_above_terminal_line({line.data(), line.size()});
  }
  void flush_() override {}
};

spdlog::logger& logger() {
  static spdlog::logger& instance = *[] {  // outlives every static object that still logs
    auto* made = new spdlog::logger("peft", std::make_shared<TerminalSink>());
    made->set_pattern("%H:%M:%S %l: %v");
    return made;
  }();
  return instance;
}

}  // namespace

void log_line(std::string_view level, std::string_view message) {
  std::string one_line(message);
  for (char& c : one_line) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  logger().log(level == "warning" ? spdlog::level::warn : spdlog::level::info, spdlog::string_view_t(one_line));
}

}  // namespace peft
