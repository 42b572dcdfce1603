#include "characters.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>

namespace peft {
namespace {

constexpr std::array<std::array<char32_t, 2>, 10> kWhiteSpace{{{0x9, 0xD},
                                                               {0x1C, 0x20},
                                                               {0x85, 0x85},
                                                               {0xA0, 0xA0},
                                                               {0x1680, 0x1680},
                                                               {0x2000, 0x200A},
                                                               {0x2028, 0x2029},
                                                               {0x202F, 0x202F},
                                                               {0x205F, 0x205F},
                                                               {0x3000, 0x3000}}};

utf8proc_category_t category(char32_t character) { return utf8proc_category(static_cast<utf8proc_int32_t>(character)); }

}  // namespace

char32_t next_character(std::string_view text, std::size_t& position) {
  utf8proc_int32_t character = 0;
  const auto* start = reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + position;
  const auto used = utf8proc_iterate(start, static_cast<utf8proc_ssize_t>(text.size() - position), &character);
  position += used > 0 ? static_cast<std::size_t>(used) : 1;
  return static_cast<char32_t>(character);
}

char32_t character_before(std::string_view text, std::size_t position) {
  do --position;
  while (position > 0 && (static_cast<unsigned char>(text[position]) & 0xC0) == 0x80);
  return next_character(text, position);
}

void append_character(std::string& text, char32_t character) {
  std::array<utf8proc_uint8_t, 4> bytes{};
  const auto used = utf8proc_encode_char(static_cast<utf8proc_int32_t>(character), bytes.data());
  text.append(reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(used));
}

char32_t lower_case(char32_t character) {
  return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(character)));
}

bool is_letter(char32_t character) {
  const auto found = category(character);
  return found >= UTF8PROC_CATEGORY_LU && found <= UTF8PROC_CATEGORY_LO;
}

bool is_word_character(char32_t character) {
  const auto found = category(character);
  return is_letter(character) || (found >= UTF8PROC_CATEGORY_ND && found <= UTF8PROC_CATEGORY_NO) || character == U'_';
}

bool is_white_space(char32_t character) {
  return std::any_of(kWhiteSpace.begin(), kWhiteSpace.end(),
                     [&](const auto& range) { return range[0] <= character && character <= range[1]; });
}

std::string_view without_trailing_space(std::string_view text) {
  std::size_t end = 0;
  for (std::size_t position = 0; position < text.size();)
    if (!is_white_space(next_character(text, position))) end = position;
  return text.substr(0, end);
}

std::vector<std::string> split_at_white_space(std::string_view text) {
  std::vector<std::string> words;
  bool inside = false;
  for (std::size_t position = 0; position < text.size();) {
    const std::size_t start = position;
    if (is_white_space(next_character(text, position))) {
      inside = false;
      continue;
    }
    if (!inside) words.emplace_back();
    inside = true;
    words.back() += text.substr(start, position - start);
  }
  return words;
}

}  // namespace peft
