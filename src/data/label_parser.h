#pragma once
/// A label cell as a target.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "peft/data/rows.h"
#include "peft/data/target.h"
#include "peft/data/task.h"

namespace peft {

inline constexpr std::size_t longest_quote = 60;  ///< bytes of a cell that a message repeats

struct ParsedLabel {
  Target value;           ///< nothing: hidden
  std::string_view kind;  ///< of the problem (docs/tasks.md#bad-input); empty: none
  std::string problem;
};

class LabelParser {
 public:
  /// `labels`: class names in id order. `dump`: labels are spelled as in the benchmark's own files.
  LabelParser(const TaskSpec& spec, const std::vector<std::string>& labels, bool dump);
  /// `parts`: sequences of the example, among which a choice is made, or words, each of which has a tag.
  ParsedLabel operator()(const Cell& cell, int64_t parts) const;
  /// Of TargetKind::choices and span: `candidates` are what the example's sequences stand for. Fills `references` with the texts of the list.
  ParsedLabel choices(const Cell& cell, const std::vector<std::string_view>& candidates,
                      std::vector<std::string_view>& references) const;

 private:
  ParsedLabel class_id(const Cell& cell) const;
  ParsedLabel classes(const Cell& cell) const;
  ParsedLabel tags(const Cell& cell, int64_t words) const;
  ParsedLabel members(const Cell& cell) const;
  ParsedLabel score(const Cell& cell) const;
  ParsedLabel choice(const Cell& cell, int64_t sequences) const;
  ParsedLabel spelled_choice(const Cell& cell) const;
  ParsedLabel text(const Cell& cell) const;

  TargetKind target_;
  bool bounded_, booleans_;
  std::vector<std::string> spelled_choices_;
  std::map<std::string, int64_t, std::less<>> ids_;
  std::map<int64_t, int64_t> ids_by_value_;  // of names that are whole numbers, where no two have one value
  int64_t by_number_ = 0;                    // integers 0..by_number_-1 are class ids
  std::string expected_;                     // for messages
};

/// A whole cell as an integer, also 3.0; nothing where it is none.
std::optional<int64_t> integer_of(const Cell& cell);

/// The whole number that a label is, spelled 1, +1 or, as pandas does in columns with a missing value, 1.0; nothing for other labels.
std::optional<int64_t> whole_number(std::string_view label);

/// The name that the label of a user's file has before class ids are known; empty where the label is hidden. Sets `problem` when the
/// cell cannot be a label.
std::string label_name(const Cell& cell, std::string& problem);

/// What to tell where -1 stands for no label but may be meant as a class.
inline constexpr const char* minus_one_advice =
    "-1 stands for a hidden label; where it is a class, data.labels must name it, as in [\"-1\", \"1\"]";

/// Members of a JSON list, or of a csv or tsv field, where "|" stands between them and an empty field has none; nothing where the cell
/// is no list.
std::optional<std::vector<Cell>> list_members(const Cell& cell);

}  // namespace peft
