#pragma once
/// What the validator finds in one file or place. Private to src/submission.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace peft {

/// Of each rule the first line that breaks it, and how many do.
class Findings {
 public:
  /// `file`: as messages name it.
  explicit Findings(std::string file) : file_(std::move(file)) {}

  /// Line 0: the file as a whole.
  void add(std::string_view rule, int64_t line, std::string message);
  bool empty() const { return broken_.empty(); }
  /// "FILE:LINE: message; 2 more like this"
  std::vector<std::string> lines() const;

 private:
  struct Broken {
    std::string rule;
    int64_t line = 0, times = 1;
    std::string message;
  };
  std::string file_;
  std::vector<Broken> broken_;
};

}  // namespace peft
