#pragma once
/// TaskSpec::sequences, taken apart: which fields a record must have, and which texts they make.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "peft/data/task.h"

namespace peft {

class SequencePlan {
 public:
  enum class Count { one, optional, list };
  struct Field {
    std::string name;
    Count count = Count::one;
  };
  enum class Side { text, text_pair };

  /// Throws Error when the table is wrong: an open brace, or a field that may be absent or repeated before the last one.
  explicit SequencePlan(const TaskSpec& spec);

  const std::vector<Field>& fields() const { return fields_; }  ///< in the order in which the table first names them
  /// Sequences of an example with so many texts.
  int64_t sequences(std::size_t texts) const;
  /// Appends one side of sequence s; false where the sequence has no such side.
  bool write(const std::vector<std::string_view>& texts, int64_t s, Side side, std::string& out) const;

 private:
  struct Piece {
    std::string words;  // or
    int64_t field = -1;
  };
  using Text = std::vector<Piece>;
  Text parse(std::string_view text);
  int64_t field_number(std::string_view name);
  bool listed() const { return fields_.back().count == Count::list; }

  std::vector<Field> fields_;
  std::vector<Text> texts_, pairs_;
};

}  // namespace peft
