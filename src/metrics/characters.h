#pragma once
/// Characters of UTF-8 texts as the metrics see them: utf8proc's Unicode, no tokenizer's.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace peft {

/// The character at text[position] of valid UTF-8; moves position behind it.
char32_t next_character(std::string_view text, std::size_t& position);
/// The character before text[position], position > 0.
char32_t character_before(std::string_view text, std::size_t position);
void append_character(std::string& text, char32_t character);

/// The simple lower case, one character for one.
char32_t lower_case(char32_t character);
/// Categories L*.
bool is_letter(char32_t character);
/// Categories L* and N*, and `_`.
bool is_word_character(char32_t character);
/// White_Space, and U+001C to U+001F, where Python splits too.
bool is_white_space(char32_t character);
inline bool is_ascii_digit(char c) { return c >= '0' && c <= '9'; }

/// The text without white space at its end.
std::string_view without_trailing_space(std::string_view text);
/// What stands between white space.
std::vector<std::string> split_at_white_space(std::string_view text);

}  // namespace peft
