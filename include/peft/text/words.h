#pragma once
/// Words of a text, for tasks that name a class for each of them.

#include <cstddef>
#include <string_view>
#include <vector>

#include "peft/text/tokenizer.h"

namespace peft {

std::size_t count_code_points(std::string_view text);

/// Runs without white space and punctuation, and each punctuation character by itself, in order.
std::vector<Span> split_words(std::string_view text);

}  // namespace peft
