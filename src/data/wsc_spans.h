#pragma once
/// Where the two spans of a WSC example stand in its text (docs/tasks.md#wsc-spans).

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace peft {

struct TextSpan {
  std::size_t begin = 0, end = 0;  ///< bytes of the text
  bool matched = true;             ///< false: the span's words are not in the text, this is the one at its index
};

/// `index` counts white-space separated words from 0. Nothing where the text has no such word.
std::optional<TextSpan> find_wsc_span(std::string_view text, std::string_view span, int64_t index);

}  // namespace peft
