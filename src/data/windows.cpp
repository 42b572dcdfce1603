#include "windows.h"

#include <algorithm>

#include "peft/base/error.h"

namespace peft {

WindowEncoder::WindowEncoder(const Tokenizer& tokenizer, int64_t max_length, int64_t overlap)
    : tokenizer_(tokenizer), max_length_(max_length), overlap_(overlap) {
  const Encoding one = tokenizer.encode("", "a", {.offsets = true});
  // Those behind the text are what follows the last token that stands for something.
  for (auto span = one.offsets.rbegin(); span != one.offsets.rend() && span->start == span->end; ++span) ++behind_;
}

std::vector<Encoding> WindowEncoder::operator()(std::string_view question, std::string_view text) const {
  const Encoding all = tokenizer_.encode(question, text, {.offsets = true});
  const auto around = static_cast<int64_t>(tokenizer_.encode(question, "").ids.size());  // question and special tokens
  const auto tokens = static_cast<int64_t>(all.ids.size()) - around;                     // of the text
  const int64_t begin = around - behind_, most = max_length_ - around;
  if (most < 1)
    throw_error<DataError>("the question and special tokens take {} of max_length {}: no room for the text", around,
                           max_length_);
  const int64_t step = std::max<int64_t>(1, most - std::min(overlap_, most / 2));
  std::vector<Encoding> windows;
  for (int64_t first = 0;; first += step) {
    const int64_t last = std::min(first + most, tokens);
    Encoding& window = windows.emplace_back();
    const auto add = [&](int64_t from, int64_t to, bool of_text) {
      window.ids.insert(window.ids.end(), all.ids.begin() + from, all.ids.begin() + to);
      window.types.insert(window.types.end(), all.types.begin() + from, all.types.begin() + to);
      for (int64_t t = from; t < to; ++t) window.offsets.push_back(of_text ? all.offsets[t] : outside_text);
    };
    add(0, begin, false);
    add(begin + first, begin + last, true);
    add(begin + tokens, begin + tokens + behind_, false);
    if (last == tokens) return windows;
  }
}

TokenRange find_answer(const Encoding& window, Span answer) {
  const auto& spans = window.offsets;
  const auto size = static_cast<int32_t>(spans.size());
  int32_t first = 0, last = size - 1;
  while (first < size && spans[first] == outside_text) ++first;
  while (last >= 0 && spans[last] == outside_text) --last;
  if (first > last || spans[first].start > answer.start || spans[last].end < answer.end) return {};
  while (first < size && spans[first] != outside_text && spans[first].start <= answer.start) ++first;
  while (last >= 0 && spans[last] != outside_text && spans[last].end >= answer.end) --last;
  return {first - 1, last + 1};
}

}  // namespace peft
