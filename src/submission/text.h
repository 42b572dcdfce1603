#pragma once
/// Small pieces of text in a leaderboard's files. Private to src/submission.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "peft/base/json.h"

namespace peft {

/// A whole number as it is written in one way only: "0", "17"; nothing for "007", "+1", "1.0".
std::optional<int64_t> parse_index(std::string_view text);

/// The start of a text in quotes, control characters and bytes that are no text escaped.
std::string in_quotes(std::string_view text);

/// A JSON value as it is written, the start of a long one.
std::string shown(const Json& value);

/// "1, 2, 3 and 12 more".
template <class Numbers>
std::string first_numbers(const Numbers& numbers, std::size_t most = 5) {
  std::string list;
  std::size_t n = 0;
  for (const auto number : numbers) {
    if (n++ == most) return list + " and " + std::to_string(numbers.size() - most) + " more";
    list += (list.empty() ? "" : ", ") + std::to_string(number);
  }
  return list.empty() ? "none" : list;
}

}  // namespace peft
