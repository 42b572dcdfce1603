#pragma once
/// What an example should be answered with, and what a prediction answers.

#include <cstdint>
#include <string_view>
#include <variant>
#include <vector>

namespace peft {

/// How the label column of a task is read.
enum class TargetKind {
  class_id,  ///< one of the task's classes
  classes,   ///< a set of them
  score,     ///< a finite number
  choice,    ///< the number, from 0, of the right one of the example's own sequences
  choices,   ///< the numbers of all right ones; a prediction is one of them
  text,      ///< words to be written
  tags,      ///< a class for each word of a text
  span       ///< the part of a text that answers a question
};

/// Nothing (hidden in the file; as a prediction: invalid), a class id or the number of a choice, several of them (a set in ascending order, or
/// tags in the order of the words, of which -1 is a word without a prediction), a score, or a text.
using Target = std::variant<std::monostate, int64_t, std::vector<int64_t>, double, std::string_view>;

inline bool is_hidden(const Target& target) { return std::holds_alternative<std::monostate>(target); }

}  // namespace peft
