#include "peft/text/words.h"

#include "src/text/unicode.h"

namespace peft {

std::size_t count_code_points(std::string_view text) { return text::count_code_points(text); }

std::vector<Span> split_words(std::string_view text) {
  std::vector<Span> words;
  int32_t number = 0;
  bool inside = false;  // of a word that a further letter belongs to
  for (std::size_t at = 0; at < text.size(); ++number) {
    const char32_t point = text::next_code_point(text, at);
    const bool mark = text::is_punctuation(point);
    if (text::is_white_space(point)) {
      inside = false;
    } else if (inside && !mark) {
      words.back().end = number + 1;
    } else {
      words.push_back({number, number + 1});
      inside = !mark;
    }
  }
  return words;
}

}  // namespace peft
