#include "src/text/pre_tokenizers/behavior.h"

#include <array>
#include <utility>

namespace peft::text {
namespace {

constexpr std::array<std::pair<std::string_view, Behavior>, 5> kNames = {
    {{"Removed", Behavior::removed},
     {"Isolated", Behavior::isolated},
     {"MergedWithPrevious", Behavior::merged_with_previous},
     {"MergedWithNext", Behavior::merged_with_next},
     {"Contiguous", Behavior::contiguous}}};

/// Does a new word start at matches[k]?
bool starts_word(const std::vector<Match>& matches, std::size_t k, Behavior behavior) {
  const bool now = matches[k].matched, before = matches[k - 1].matched;
  switch (behavior) {
    case Behavior::removed:
    case Behavior::isolated:
      return true;
    case Behavior::contiguous:
      return now != before;
    case Behavior::merged_with_previous:
      return !now || before;
    case Behavior::merged_with_next:
      return now || !before;
  }
  return true;
}

}  // namespace

Behavior read_behavior(const JsonSection& section) {
  for (const auto& [name, behavior] : kNames)
    if (section.string() == name) return behavior;
  section.fail("found \"" + section.string() +
               "\", expected Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous");
}

void split_at(std::string_view text, const std::vector<Match>& matches, Behavior behavior,
              std::vector<std::string_view>& words) {
  words.clear();
  for (std::size_t k = 0; k < matches.size();) {
    const std::size_t first = k;
    for (++k; k < matches.size() && !starts_word(matches, k, behavior);) ++k;
    if (behavior == Behavior::removed && matches[first].matched) continue;
    words.push_back(text.substr(matches[first].start, matches[k - 1].end - matches[first].start));
  }
}

}  // namespace peft::text
