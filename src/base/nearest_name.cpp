#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "peft/base/json.h"
#include "src/base/field_text.h"

namespace peft {
namespace {

/// Insertions, deletions, substitutions and swaps of neighbours (optimal string alignment).
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before_last(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substitution = last[j - 1] + (a[i - 1] != b[j - 1]);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, substitution});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
    std::swap(before_last, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

std::string digits_of(std::string_view name) {
  std::string digits;
  std::copy_if(name.begin(), name.end(), std::back_inserter(digits), [](char c) { return c >= '0' && c <= '9'; });
  return digits;
}

/// The parts between `_` and `.`.
std::vector<std::string_view> words_of(std::string_view name) {
  std::vector<std::string_view> words;
  while (true) {
    const std::size_t end = name.find_first_of("_.");
    words.push_back(name.substr(0, end));
    if (end == std::string_view::npos) return words;
    name.remove_prefix(end + 1);
  }
}

/// A typo changes one letter, of a long word two; one letter of a word of three already makes another word.
bool is_slip(std::string_view a, std::string_view b) {
  const std::size_t length = std::max(a.size(), b.size()), distance = edit_distance(a, b);
  return distance <= (length >= 8 ? 2U : length >= 4 ? 1U : 0U);
}

/// Both folded. A typo keeps the first letter (mnli, qnli), the digits that were typed (sst5, sst2), and is a slip in each word
/// (use_dora, use_rslora), or in the whole where the words are cut in another way (batchsize).
bool is_typo(std::string_view name, std::string_view meant) {
  if (name.empty() || meant.empty() || name.front() != meant.front()) return false;
  if (!digits_of(meant).starts_with(digits_of(name))) return false;
  const auto words = words_of(name), meant_words = words_of(meant);
  if (words.size() != meant_words.size()) return is_slip(name, meant);
  return std::equal(words.begin(), words.end(), meant_words.begin(), is_slip);
}

}  // namespace

std::string folded_name(std::string_view name) {
  std::string out(name);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (c == '-') c = '_';
  }
  return out;
}

std::string nearest_name(std::string_view name, const std::vector<std::string>& known) {
  const std::string wanted = folded_name(name);
  std::string nearest;
  std::size_t nearest_distance = 0;
  for (const std::string& candidate : known) {
    const std::string meant = folded_name(candidate);
    if (!is_typo(wanted, meant)) continue;
    const std::size_t distance = edit_distance(wanted, meant);
    if (nearest.empty() || distance < nearest_distance) {
      nearest = candidate;
      nearest_distance = distance;
    }
  }
  return nearest;
}

}  // namespace peft
