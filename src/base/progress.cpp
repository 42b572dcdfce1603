#include "peft/base/progress.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "src/base/progress_text.h"
#include "src/base/terminal_line.h"

namespace peft {
namespace {

constexpr std::chrono::milliseconds redraw_interval{100};
constexpr double longest_time_left = 1e8;  // three years: beyond that the rate means nothing

/// 0:25, 12:03, 1:02:03
std::string duration_text(double seconds) {
  const auto whole = std::llround(seconds);
  const auto hours = whole / 3600, minutes = whole / 60 % 60, rest = whole % 60;
  return hours > 0 ? fmt::format("{}:{:02}:{:02}", hours, minutes, rest) : fmt::format("{}:{:02}", minutes, rest);
}

}  // namespace

std::string progress_text(const ProgressState& state) {
  const auto& [label, unit, done, total, under_way, first, seconds, note] = state;
  const double worked = double(done) + under_way;
  std::string text = fmt::format("{} {}", label, done);
  if (total > 0) text += fmt::format("/{}", total);
  if (!unit.empty()) text += fmt::format(" {}", unit);
  if (total > 0) text += fmt::format(" {}%", static_cast<int64_t>(100.0 * worked / double(total)));
  if (worked > first && seconds > 0) {
    const double rate = (worked - first) / seconds;
    text += rate >= 0.1 ? fmt::format(" {:.1f}/s", rate) : fmt::format(" {:.1f} s each", 1 / rate);
    const double left = (double(total) - worked) / rate;
    if (left >= 0 && total > 0 && left < longest_time_left) text += fmt::format(" {} left", duration_text(left));
  }
  if (!note.empty()) text += fmt::format(", {}", note);
  return text;
}

Progress::Progress(std::string label, int64_t total, std::string unit)
    : label_(std::move(label)), unit_(std::move(unit)), total_(total), terminal_(stderr_is_terminal()) {}

Progress::~Progress() {
  if (terminal_) show_terminal_line({});
}

void Progress::update(int64_t done, std::string_view note, double under_way) {
  if (!terminal_) return;
  const auto now = std::chrono::steady_clock::now();
  if (first_ < 0) {
    first_ = double(done) + under_way;
    start_ = now;
  } else if (now - drawn_ < redraw_interval) {
    return;
  }
  drawn_ = now;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  show_terminal_line(progress_text({label_, unit_, done, total_, under_way, first_, seconds, std::string(note)}));
}

}  // namespace peft
