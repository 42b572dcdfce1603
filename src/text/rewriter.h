#pragma once
/// Rewriting a text while remembering which character each new byte came from.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "src/text/unicode.h"

namespace peft::text {

/// For each byte of a rewritten text, where in the text before the character starts that it stands for.
using Sources = std::vector<uint32_t>;

/// Walks over the characters of a text and writes others in their place. The rules are those of the reference's NormalizedString.
class Rewriter {
 public:
  /// Replaces `to`, and `sources` unless null. Neither is part of `from`, which is valid UTF-8.
  Rewriter(std::string_view from, std::string& to, Sources* sources) : from_(from), to_(to), sources_(sources) {
    to_.clear();
    if (sources_ != nullptr) sources_->clear();
  }

  /// Writes a character for the next `used` ones of `from`: it stands for the first of them. One that uses up none stands for the
  /// last one used.
  void put(char32_t point, int used = 1) {
    append_code_point(to_, point);
    if (sources_ == nullptr) return;
    if (used > 0) skip(used);
    sources_->resize(to_.size(), used > 0 ? first_ : last_);
  }

  /// Leaves out the next characters of `from`.
  void skip(int count = 1) {
    if (sources_ == nullptr) return;
    first_ = static_cast<uint32_t>(position_);
    for (int k = 0; k < count; ++k) {
      last_ = static_cast<uint32_t>(position_);
      next_code_point(from_, position_);
    }
  }

 private:
  std::string_view from_;
  std::string& to_;
  Sources* sources_;
  std::size_t position_ = 0;       ///< in `from`, behind what is used up
  uint32_t first_ = 0, last_ = 0;  ///< starts of the characters used up last
};

}  // namespace peft::text
