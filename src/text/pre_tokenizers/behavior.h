#pragma once
/// What becomes of the parts of a text where a pre-tokenizer's pattern matches.

#include <cstddef>
#include <string_view>
#include <vector>

#include "src/text/json_section.h"
#include "src/text/unicode.h"

namespace peft::text {

/// One of the parts, without gaps, that a pattern divides a text into.
struct Match {
  std::size_t start, end;
  bool matched;
};

enum class Behavior {
  removed,               ///< matches go
  isolated,              ///< every match is a word
  merged_with_previous,  ///< a match ends the word before it
  merged_with_next,      ///< a match starts the word behind it
  contiguous             ///< matches side by side are one word
};
Behavior read_behavior(const JsonSection& section);

/// Replaces `words`.
void split_at(std::string_view text, const std::vector<Match>& matches, Behavior behavior,
              std::vector<std::string_view>& words);

/// Every character of which `matches(point)` holds is a match of its own.
template <class Matches>
std::vector<Match> match_characters(std::string_view text, Matches matches) {
  std::vector<Match> found;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t start = i;
    const bool matched = matches(next_code_point(text, i));
    if (!matched && !found.empty() && !found.back().matched) {
      found.back().end = i;
    } else {
      found.push_back({start, i, matched});
    }
  }
  return found;
}

}  // namespace peft::text
