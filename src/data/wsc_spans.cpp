#include "wsc_spans.h"

#include <cstdlib>
#include <vector>

#include "src/text/unicode.h"

namespace peft {
namespace {

struct Word {
  std::size_t begin, end;
};

std::vector<Word> words_of(std::string_view text) {
  std::vector<Word> words;
  bool inside = false;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    const bool space = text::is_white_space(text::next_code_point(text, at));
    if (!space && !inside) words.push_back({begin, at});
    if (!space) words.back().end = at;
    inside = !space;
  }
  return words;
}

/// As the texts have it: without the line break and the final full stop that some spans bring.
std::string normalised(std::string_view span) {
  std::string words(span);
  for (char& c : words)
    if (c == '\n') c = ' ';
  if (words.ends_with('.')) words.pop_back();
  return words;
}

/// End of `words` in the text from `begin` on, upper and lower case being equal; nothing where something else stands there.
std::optional<std::size_t> match_at(std::string_view text, std::size_t begin, std::string_view words) {
  std::size_t at = begin, of_words = 0;
  while (of_words < words.size()) {
    if (at == text.size()) return std::nullopt;
    const auto a = text::lowercase(text::next_code_point(text, at));
    const auto b = text::lowercase(text::next_code_point(words, of_words));
    if (a.count != b.count || a.points != b.points) return std::nullopt;
  }
  return at;
}

}  // namespace

std::optional<TextSpan> find_wsc_span(std::string_view text, std::string_view span, int64_t index) {
  const std::vector<Word> words = words_of(text);
  if (index < 0 || index >= static_cast<int64_t>(words.size())) return std::nullopt;
  const std::string wanted = normalised(span);
  const Word& told = words[static_cast<std::size_t>(index)];
  std::optional<TextSpan> nearest;
  int64_t distance = 0;
  for (std::size_t w = 0; w < words.size() && !wanted.empty(); ++w) {
    const int64_t away = std::abs(static_cast<int64_t>(w) - index);
    if (nearest && away >= distance) continue;
    const auto end = match_at(text, words[w].begin, wanted);
    if (!end) continue;
    nearest = {words[w].begin, *end};
    distance = away;
  }
  return nearest ? nearest : TextSpan{told.begin, told.end, false};
}

}  // namespace peft
