#pragma once
/// What a progress line says, apart from how it gets onto the terminal.

#include <cstdint>
#include <string>

namespace peft {

/// What a line tells.
struct ProgressState {
  std::string label = {}, unit = {};
  int64_t done = 0, total = 0;  ///< `total` <= 0 is unknown
  double under_way = 0.0;       ///< what the begun ones amount to
  double first = 0.0;           ///< done and under way when the clock started
  double seconds = 0.0;         ///< since then
  std::string note = {};
};

/// `train 120/1000 12% 35.2/s 0:25 left, loss 0.31`, `sweep 3/12 runs 31% 20.0 s each 2:50 left, best accuracy 0.9`
std::string progress_text(const ProgressState& state);

}  // namespace peft
