#pragma once
/// Whether indices are those expected, each once, in ascending order. Private to src/submission.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "src/submission/findings.h"

namespace peft {

class IndexCheck {
 public:
  /// `noun`: "index" or "idx", for messages. `expected` is ascending and outlives the check; `source` says whose numbers these are.
  IndexCheck(std::string noun, const std::vector<int64_t>& expected, std::string source, Findings& findings)
      : noun_(std::move(noun)), expected_(expected), source_(std::move(source)), findings_(findings) {}

  void add(int64_t idx, int64_t line);
  /// A row whose index cannot be read, which was reported.
  void add_unreadable() { ++unreadable_; }
  /// `last_line`: of the file.
  void finish(int64_t last_line);

 private:
  std::vector<int64_t> missing() const;  // seen_ is sorted

  std::string noun_;
  const std::vector<int64_t>& expected_;
  std::string source_;
  Findings& findings_;
  std::vector<std::pair<int64_t, int64_t>> seen_;  // index, line
  std::size_t unreadable_ = 0;
};

}  // namespace peft
