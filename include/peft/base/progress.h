#pragma once
/// One progress line on a terminal: done/total, rate, time left, a note. Silent when stderr is not a terminal.

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace peft {

class Progress {
 public:
  Progress(std::string label, int64_t total);
  ~Progress();  ///< clears the line
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void update(int64_t done, std::string_view note = {});  ///< draws at most ten times a second

 private:
  std::string label_;
  int64_t total_;
  int64_t first_ = -1;  ///< `done` of the first update: a resumed run's rate counts its own steps only
  bool terminal_;
  std::chrono::steady_clock::time_point start_, drawn_;
};

}  // namespace peft
