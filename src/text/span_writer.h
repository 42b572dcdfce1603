#pragma once
/// Spans of tokens in code points of the text.

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <vector>

#include "peft/text/tokenizer.h"
#include "src/text/post_processor.h"
#include "src/text/storage.h"
#include "src/text/unicode.h"

namespace peft::text {

class SpanWriter {
 public:
  /// Appends to `spans`, which outlives the writer. `processor` says whether white space counts.
  SpanWriter(std::string_view text, const PostProcessor& processor, std::vector<Span>& spans)
      : trim_(processor.trim_offsets), prefix_space_(processor.add_prefix_space), spans_(spans) {
    points_.reserve(text.size() + 1);
    int32_t started = 0;  // characters that start before or at the byte
    for (const char byte : text) {
      const bool starts = (static_cast<unsigned char>(byte) & 0xC0) != 0x80;
      if (starts) ++started;
      points_.push_back(started - 1);
    }
    points_.push_back(started);
  }

  /// The span of `bytes`, which a token with this text stands for.
  void add(ByteSpan bytes, std::string_view token) {
    Span span{points_[bytes.start], points_[bytes.end]};
    if (trim_) trim(token, span);
    first_ = false;
    spans_.push_back(span);
  }

 private:
  /// As the reference: counted in the token, taken off the span.
  void trim(std::string_view token, Span& span) const {
    constexpr char32_t byte_level_blank = 0x120;
    const auto blank = [](char32_t point) { return point == byte_level_blank || is_white_space(point); };
    int32_t leading = 0, trailing = 0;
    for (std::size_t i = 0; i < token.size() && blank(next_code_point(token, i));) ++leading;
    for (std::size_t i = token.size(); i > 0 && blank(previous_code_point(token, i));) ++trailing;
    if (leading > 0 && prefix_space_ && (first_ || span.start == 0)) --leading;
    span.start = std::min(span.start + leading, span.end);
    if (span.end >= trailing) span.end = std::max(span.end - trailing, span.start);
  }

  bool trim_, prefix_space_, first_ = true;
  std::vector<Span>& spans_;
  std::vector<int32_t> points_;  ///< of each byte the character it is in, and behind the last one their number
};

}  // namespace peft::text
