#pragma once
/// A question and its text as sequences that fit the model, where the text is too long for one.

#include <string_view>
#include <vector>

#include "peft/data/encoded_split.h"
#include "peft/text/tokenizer.h"

namespace peft {

/// The windows that transformers' tokenizers make with truncation="only_second", stride and return_overflowing_tokens: each holds the whole
/// question and M tokens of the text, each goes on `overlap` tokens before the end of the one before it, but at most M / 2. Offsets are those
/// in the text, outside_text for other tokens. Throws DataError where the question leaves no room.
class WindowEncoder {
 public:
  WindowEncoder(const Tokenizer& tokenizer, int64_t max_length, int64_t overlap);
  std::vector<Encoding> operator()(std::string_view question, std::string_view text) const;

 private:
  const Tokenizer& tokenizer_;
  int64_t max_length_, overlap_;
  int64_t behind_ = 0;  // special tokens behind the text
};

/// First and last token of `answer`, a part of the text, in a window, as transformers' example for question answering finds them; both 0, the
/// first token, where the window does not hold all of it.
struct TokenRange {
  int32_t first = 0, last = 0;
};
TokenRange find_answer(const Encoding& window, Span answer);

}  // namespace peft
