#include "peft/text/utf8.h"

#include <gtest/gtest.h>

namespace peft {
namespace {

using namespace std::string_view_literals;

TEST(Utf8, AcceptsEveryLengthAndTheLimits) {
  for (const auto text :
       {""sv, "plain ASCII, longer than a word"sv, "\0"sv, "\x7F"sv, "\xC2\x80"sv, "\xDF\xBF"sv, "\xE0\xA0\x80"sv,
        "\xED\x9F\xBF"sv, "\xEE\x80\x80"sv, "\xEF\xBF\xBF"sv, "\xF0\x90\x80\x80"sv, "\xF4\x8F\xBF\xBF"sv})
    EXPECT_EQ(find_invalid_utf8(text), std::nullopt) << text;
}

TEST(Utf8, FindsTheFirstBadByte) {
  struct Case {
    std::string_view text;
    std::size_t offset;
  };
  for (const Case& c : {Case{"ab\xFF", 2}, Case{"\x80", 0}, Case{"\xC1\xBF", 0} /* overlong */,
                        Case{"\xE0\x9F\xBF", 0} /* overlong */, Case{"\xED\xA0\x80", 0} /* surrogate */,
                        Case{"\xF4\x90\x80\x80", 0} /* above U+10FFFF */, Case{"\xF5\x80\x80\x80", 0},
                        Case{"12345678\xE4\xBD", 8} /* cut short */, Case{"\xC3\xA9\xC3", 2}, Case{"\xF0\x9F\x98z", 0}})
    EXPECT_EQ(find_invalid_utf8(c.text), c.offset);
}

TEST(Utf8, MessageCountsBytesFromOne) { EXPECT_EQ(describe_invalid_utf8("ab\xFF", 2), "byte 3: invalid UTF-8 (0xff)"); }

}  // namespace
}  // namespace peft
