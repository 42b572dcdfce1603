#include <algorithm>
#include <iterator>

#include "characters.h"
#include "peft/base/summaries.h"
#include "text_rows.h"

namespace peft {
namespace {

using Tokens = std::vector<std::string>;

// Runs of a-z and 0-9 of the text in lower case.
Tokens rouge_tokens(const std::string& text) {
  std::string plain;
  for (std::size_t position = 0; position < text.size();) {
    const char32_t character = next_character(text, position), lower = lower_case(character);
    const bool kept = (lower >= U'a' && lower <= U'z') || (lower >= U'0' && lower <= U'9');
    plain += kept ? static_cast<char>(lower) : ' ';
    if (character == U'\u0130') plain += ' ';  // its whole lower case is an i and a combining dot
  }
  return split_at_white_space(plain);
}

double f1(std::size_t both, std::size_t a, std::size_t b) {
  return both == 0 ? 0.0 : 2.0 * double(both) / double(a + b);
}

// All runs of n tokens, sorted.
template <std::size_t n>
Tokens sorted_ngrams(const std::string& text) {
  const Tokens tokens = rouge_tokens(text);
  Tokens ngrams;
  for (std::size_t i = 0; i + n <= tokens.size(); ++i) {
    ngrams.push_back(tokens[i]);
    for (std::size_t k = 1; k < n; ++k) ngrams.back() += " " + tokens[i + k];
  }
  std::sort(ngrams.begin(), ngrams.end());
  return ngrams;
}

// F of the clipped overlap of n-grams [Lin 2004].
template <std::size_t n>
Evaluate rouge_n(const Scored& scored) {
  return mean_of_rows(best_of_references(scored, sorted_ngrams<n>, [](const Tokens& a, const Tokens& b) {
    Tokens both;  // each as often as in the one that has it less often
    std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(both));
    return f1(both.size(), a.size(), b.size());
  }));
}

// Length of the longest common subsequence; memory is one row of the table.
std::size_t common_subsequence(const Tokens& a, const Tokens& b) {
  std::vector<std::size_t> lengths(b.size() + 1);
  for (const std::string& token : a) {
    std::size_t diagonal = 0;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = lengths[j];
      lengths[j] = token == b[j - 1] ? diagonal + 1 : std::max(above, lengths[j - 1]);
      diagonal = above;
    }
  }
  return lengths.back();
}

// F of the longest common subsequence of the whole texts.
Evaluate rouge_l(const Scored& scored) {
  return mean_of_rows(best_of_references(scored, rouge_tokens, [](const Tokens& a, const Tokens& b) {
    return f1(common_subsequence(a, b), a.size(), b.size());
  }));
}

[[maybe_unused]] const bool registered =
    metric_registry().add("rouge1", {.input = Metric::Input::texts, .prepare = rouge_n<1>}) &&
    metric_registry().add("rouge2", {.input = Metric::Input::texts, .prepare = rouge_n<2>}) &&
    metric_registry().add("rougeL", {.input = Metric::Input::texts, .prepare = rouge_l});

[[maybe_unused]] const bool described =
    summaries("metric").add("rouge1", {"mean F of the overlap of words"}) &&
    summaries("metric").add("rouge2", {"mean F of the overlap of pairs of words"}) &&
    summaries("metric").add("rougeL", {"mean F of the longest common subsequence of words"});

}  // namespace
}  // namespace peft
