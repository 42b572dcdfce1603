#pragma once
/// A label cell as a class id or a score.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "peft/data/rows.h"
#include "peft/data/task.h"

namespace peft {

struct ParsedLabel {
  double value = 0;       ///< class id or score; NaN = hidden
  std::string_view kind;  ///< of the problem (docs/tasks.md#bad-input); empty: none
  std::string problem;
};

class LabelParser {
 public:
  /// `labels`: class names in id order. `dump`: labels are spelled as in the benchmark's own files.
  LabelParser(const TaskSpec& spec, const std::vector<std::string>& labels, bool dump);
  ParsedLabel operator()(const Cell& cell) const { return regression_ ? score(cell) : class_id(cell); }

 private:
  ParsedLabel class_id(const Cell& cell) const;
  ParsedLabel score(const Cell& cell) const;

  bool regression_, bounded_;
  std::map<std::string, double, std::less<>> ids_;
  int64_t by_number_ = 0;  // integers 0..by_number_-1 are class ids
  std::string expected_;   // for messages
};

/// A whole cell as an integer, also 3.0 of JSON; nothing where it is none.
std::optional<int64_t> integer_of(const Cell& cell);

/// The name that the label of a user's file has before class ids are known; empty where the label is hidden. Sets `problem` when the
/// cell cannot be a label.
std::string label_name(const Cell& cell, std::string& problem);

}  // namespace peft
