#include "src/text/unicode.h"

#include <gtest/gtest.h>

#include "peft/base/hash.h"

namespace peft::text {
namespace {

/// Hash of what `describe` says of every code point.
template <class Describe>
std::string hash_of_all(Describe describe) {
  std::string all;
  for (char32_t point = 0; point < 0x110000; ++point) {
    if (point >= 0xD800 && point < 0xE000) continue;
    describe(point, all);
    all += '\n';
  }
  return Hasher().add(all).hex();
}

// The values were taken when every code point agreed with tokenizers 0.23.3. One that differs with another utf8proc
// means that it gives an old character a new mapping, or that a character new to it needs a row in the tables.
TEST(Unicode, SetsAreThoseOfTheReference) {
  EXPECT_EQ(hash_of_all([](char32_t p, std::string& out) {
              for (const bool flag : {is_control(p), is_nonspacing_mark(p), is_combining_mark(p), is_punctuation(p),
                                      is_word_character(p), is_white_space(p), is_chinese_character(p)})
                out += flag ? '1' : '0';
            }),
            "765b8d14a86d369aee4171039606f700");
}

TEST(Unicode, LowercaseIsThatOfTheReference) {
  EXPECT_EQ(hash_of_all([](char32_t p, std::string& out) {
              const Lowercase lower = lowercase(p);
              for (int k = 0; k < lower.count; ++k) append_code_point(out, lower.points[static_cast<std::size_t>(k)]);
            }),
            "bd6c5bba3a300c81553f4846197d51d7");
}

TEST(Unicode, DecompositionAndClassesAreThoseOfTheReference) {
  EXPECT_EQ(hash_of_all([](char32_t p, std::string& out) {
              const Decomposition parts = decompose(p);
              for (int k = 0; k < parts.count; ++k) append_code_point(out, parts.points[static_cast<std::size_t>(k)]);
              out += std::to_string(combining_class(p));
            }),
            "c9858210cb170953cc8afe9875ff8ab8");
}

TEST(Unicode, EncodesAndDecodesEveryCodePoint) {
  for (char32_t point = 0; point < 0x110000; ++point) {
    if (point >= 0xD800 && point < 0xE000) continue;
    std::string text = "a";
    append_code_point(text, point);
    std::size_t forward = 1, backward = text.size();
    ASSERT_EQ(next_code_point(text, forward), point);
    ASSERT_EQ(forward, text.size());
    ASSERT_EQ(previous_code_point(text, backward), point);
    ASSERT_EQ(backward, 1u);
    ASSERT_EQ(count_code_points(text), 2u);
  }
}

}  // namespace
}  // namespace peft::text
