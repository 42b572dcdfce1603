#pragma once
/// One progress line on a terminal: done/total, rate, time left, a note. Silent when stderr is not a terminal.

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace peft {

class Progress {
 public:
  /// `unit`: the word behind the count, where the label does not say what is counted ("sweep 3/12 runs").
  Progress(std::string label, int64_t total, std::string unit = {});
  ~Progress();  ///< clears the line
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  /// Draws at most ten times a second. `under_way`: what the begun ones amount to; it moves percent and time left, not the count.
  void update(int64_t done, std::string_view note = {}, double under_way = 0.0);

 private:
  std::string label_, unit_;
  int64_t total_;
  double first_ =
      -1.0;  ///< `done` with `under_way` of the first update: a resumed run's rate counts its own steps only
  bool terminal_;
  std::chrono::steady_clock::time_point start_, drawn_;
};

}  // namespace peft
