#include "src/base/terminal_line.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <mutex>
#include <string>

namespace peft {
namespace {

constexpr std::size_t usual_width = 80;  // where the terminal does not tell
constexpr std::string_view erase_line = "\r\x1b[K";

std::mutex& terminal_mutex() {
  static std::mutex mutex;
  return mutex;
}

std::string& shown_line() {
  static std::string& line = *new std::string();  // outlives every static object that still logs
  return line;
}

std::size_t terminal_width() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : usual_width;
}

/// The first `width` characters of UTF-8 text.
std::string_view first_characters(std::string_view text, std::size_t width) {
  std::size_t characters = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool starts_character = (static_cast<unsigned char>(text[i]) & 0xC0) != 0x80;
    if (starts_character && ++characters > width) return text.substr(0, i);
  }
  return text;
}

/// Messages for people are best effort: a closed stderr must not end a training run.
void write_to_stderr(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
    if (written <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

}  // namespace

bool stderr_is_terminal() {
  const char* kind = std::getenv("TERM");
  return isatty(STDERR_FILENO) != 0 && !(kind != nullptr && std::string_view(kind) == "dumb");
}

void show_terminal_line(std::string_view line) {
  const std::lock_guard lock(terminal_mutex());
  if (line.empty() && shown_line().empty()) return;
  // The last column stays free: writing there makes some terminals wrap.
  shown_line() = first_characters(line, terminal_width() - 1);
  write_to_stderr(std::string(erase_line) + shown_line());
}

void write_above_terminal_line(std::string_view line) {
  const std::lock_guard lock(terminal_mutex());
  if (shown_line().empty()) return write_to_stderr(line);
  write_to_stderr(std::string(erase_line) + std::string(line) + shown_line());
}

}  // namespace peft
