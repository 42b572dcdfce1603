#pragma once
/// What the tokenizers library knows of one code point. It mixes several versions of Unicode; so do these functions.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace peft::text {

/// Code point that starts at text[position] of valid UTF-8; moves position behind it.
inline char32_t next_code_point(std::string_view text, std::size_t& position) {
  const auto byte = [&](std::size_t i) {
    return static_cast<char32_t>(static_cast<unsigned char>(text[position + i]));
  };
  const char32_t lead = byte(0);
  char32_t point = lead;
  std::size_t length = 1;
  if (lead >= 0xF0) {
    point = (lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
    length = 4;
  } else if (lead >= 0xE0) {
    point = (lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
    length = 3;
  } else if (lead >= 0x80) {
    point = (lead & 0x1F) << 6 | (byte(1) & 0x3F);
    length = 2;
  }
  position += length;
  return point;
}

/// Code point that ends at text[position - 1] of valid UTF-8; moves position before it.
char32_t previous_code_point(std::string_view text, std::size_t& position);

void append_code_point(std::string& text, char32_t point);

std::size_t count_code_points(std::string_view text);

bool is_control(char32_t point);            ///< what clean_text removes: Cc, Cf, Co, NUL, U+FFFD; never tab, LF, CR
bool is_nonspacing_mark(char32_t point);    ///< Mn
bool is_combining_mark(char32_t point);     ///< M
bool is_punctuation(char32_t point);        ///< P and all ASCII punctuation
bool is_word_character(char32_t point);     ///< \w
bool is_white_space(char32_t point);        ///< White_Space
bool is_numeric(char32_t point);            ///< N
bool is_chinese_character(char32_t point);  ///< the ideograph blocks of BERT's handle_chinese_chars

/// Start of the white space that ends at `end`; `end` itself where there is none.
std::size_t before_white_space(std::string_view text, std::size_t end);

/// Full lowercase mapping of one code point, without context (no final sigma). At most two code points.
struct Lowercase {
  std::array<char32_t, 2> points;
  int count;
};
Lowercase lowercase(char32_t point);

/// Full decomposition of one code point. A canonical one has at most four code points.
enum class Form { canonical, compatible };
struct Decomposition {
  std::array<char32_t, 18> points;
  int count;
};
Decomposition decompose(char32_t point, Form form = Form::canonical);

/// The one code point that is canonically equivalent to the two, or nothing.
std::optional<char32_t> compose(char32_t first, char32_t second);

int combining_class(char32_t point);

}  // namespace peft::text
