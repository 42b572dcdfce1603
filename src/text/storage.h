#pragma once
/// Where the words of a text live: a part of the text itself, or bytes that a step wrote instead.

#include <deque>
#include <string>
#include <string_view>

#include "src/text/rewriter.h"

namespace peft::text {

/// Half-open range of bytes.
struct ByteSpan {
  std::size_t start, end;
};

/// Owns rewritten bytes and maps every part of them back to the text they came from. A step that rewrites takes a new buffer with
/// add(), so the views of earlier steps stay valid.
class Storage {
 public:
  struct Rewritten {
    std::string text;
    Sources sources;  ///< into the text given to reset(); of use only where source() is asked
  };

  /// Starts anew on `text`, which must outlive the words.
  void reset(std::string_view text) {
    text_ = text;
    used_ = 0;
  }

  /// An empty buffer that stays where it is until reset().
  Rewritten& add() {
    if (used_ == buffers_.size()) buffers_.emplace_back();
    return buffers_[used_++];
  }

  /// Turns `sources`, which point into `part`, a stored text, into ones that point into the text of reset().
  void trace(std::string_view part, Sources& sources) const {
    for (uint32_t& source : sources) source = static_cast<uint32_t>(start_of(part.data() + source));
  }

  /// The bytes of the text of reset() that `part`, a stored text and not empty, stands for.
  ByteSpan source(std::string_view part) const {
    std::size_t last = part.size();
    previous_code_point(part, last);
    const std::size_t start = start_of(part.data());
    std::size_t end = start_of(part.data() + last);
    next_code_point(text_, end);
    return {start, end};
  }

 private:
  /// Start of the character of text_ that the character at `at` stands for.
  std::size_t start_of(const char* at) const {
    for (std::size_t k = used_; k-- > 0;) {  // the newest first: words are asked for soon after they are written
      const Rewritten& buffer = buffers_[k];
      const auto begin = reinterpret_cast<uintptr_t>(buffer.text.data()), where = reinterpret_cast<uintptr_t>(at);
      if (where >= begin && where < begin + buffer.text.size()) return buffer.sources[where - begin];
    }
    return static_cast<std::size_t>(at - text_.data());
  }

  std::string_view text_;
  std::deque<Rewritten> buffers_;
  std::size_t used_ = 0;
};

}  // namespace peft::text
