#include <algorithm>
#include <functional>
#include <optional>

#include "characters.h"
#include "peft/base/summaries.h"
#include "text_rows.h"

namespace peft {
namespace {

std::string stripped(const std::string& text) {
  constexpr const char* spaces = " \t\n\v\f\r";
  const std::size_t first = text.find_first_not_of(spaces);
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(spaces) + 1 - first);
}

std::vector<bool> equal_texts(const Scored& scored) { return best_of_references(scored, stripped, std::equal_to<>()); }

// Share of rows that equal a reference but for ASCII white space at both ends.
Evaluate exact_match(const Scored& scored) { return share_of_right(equal_texts(scored)); }

bool digit_at(std::string_view text, std::size_t i) { return i < text.size() && is_ascii_digit(text[i]); }

// Whether the number that starts at text[start] is negative: `x-3` and `5-3` hold 3, `= -3` holds -3.
bool has_minus(std::string_view text, std::size_t start) {
  if (start == 0 || text[start - 1] != '-') return false;
  if (start == 1) return true;
  const char32_t before = character_before(text, start - 1);
  return !is_letter(before) && std::u32string_view(U"0123456789.,)").find(before) == std::u32string_view::npos;
}

// The last number of a text, written in one way only: no commas, no zeros in front or at the end of the fraction, no
// -0.
std::optional<std::string> last_number(std::string_view text) {
  std::optional<std::string> last;
  for (std::size_t i = 0; i < text.size();) {
    const bool fraction_only = text[i] == '.' && digit_at(text, i + 1);
    if (!fraction_only && !digit_at(text, i)) {
      ++i;
      continue;
    }
    const bool minus = has_minus(text, i);
    std::string whole, fraction;
    for (; digit_at(text, i) || (i < text.size() && text[i] == ',' && !fraction_only); ++i)
      if (text[i] != ',' && !(whole.empty() && text[i] == '0')) whole += text[i];
    if (i < text.size() && text[i] == '.' && digit_at(text, i + 1))
      for (++i; digit_at(text, i); ++i) fraction += text[i];
    fraction.resize(fraction.find_last_not_of('0') + 1);
    if (whole.empty() && fraction.empty()) whole = "0";
    last = (minus && !(whole == "0" && fraction.empty()) ? "-" : "") + whole + "." + fraction;
  }
  return last;
}

std::optional<std::string> reference_number(const std::string& reference) {
  constexpr std::string_view mark = "####";  // of GSM8K, before the answer
  const std::size_t found = reference.rfind(mark);
  return last_number(found == std::string::npos ? reference : reference.substr(found + mark.size()));
}

const char* number_problem(const std::string& reference) {
  return reference_number(reference) ? nullptr : "no number in it";
}

std::vector<bool> equal_numbers(const Scored& scored) {
  std::vector<bool> right;
  for (std::size_t row = 0; row < scored.rows(); ++row) {
    const auto prediction = last_number(scored.predicted_texts[row]);
    const auto& references = scored.reference_texts[row];
    right.push_back(prediction && std::any_of(references.begin(), references.end(), [&](const std::string& reference) {
                      return reference_number(reference) == prediction;
                    }));
  }
  return right;
}

// Share of rows whose last number is a reference's.
Evaluate number_em(const Scored& scored) { return share_of_right(equal_numbers(scored)); }

[[maybe_unused]] const bool registered =
    metric_registry().add("exact_match",
                          {.input = Metric::Input::texts, .prepare = exact_match, .right = equal_texts}) &&
    metric_registry().add(
        "number_em",
        {.input = Metric::Input::texts, .prepare = number_em, .right = equal_numbers, .problem = number_problem});

[[maybe_unused]] const bool described =
    summaries("metric").add("exact_match", {"share of texts that equal a reference"}) &&
    summaries("metric").add("number_em", {"share of texts whose last number is the reference's"});

}  // namespace
}  // namespace peft
