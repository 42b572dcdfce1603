#include <gtest/gtest.h>

#include "src/text/normalizer.h"

namespace peft::text {
namespace {

std::string normalized(std::string_view text, const BertNormalizerOptions& options) {
  std::string out = "left from before";
  make_bert_normalizer(options)->normalize(text, out);
  return out;
}

constexpr BertNormalizerOptions kNothing{false, false, false, false};

TEST(BertNormalizer, CleanTextDropsControlsAndUnifiesSpaces) {
  using namespace std::string_view_literals;
  const auto text =
      "a\0b\x01\tc\xEF\xBF\xBD d\xC2\xA0"
      "e\xE2\x80\x8B"
      "f\xE3\x80\x80g\xEF\xBB\xBF"sv;
  EXPECT_EQ(normalized(text, {true, false, false, false}), "ab c d ef g");
  EXPECT_EQ(normalized(text, kNothing), text);
}

TEST(BertNormalizer, IdeographsStandAlone) {
  EXPECT_EQ(normalized("a漢字b가", {false, true, false, false}), "a 漢  字 b가");
}

TEST(BertNormalizer, AccentsGoWithLowercaseUnlessToldOtherwise) {
  EXPECT_EQ(normalized("ÀÉ Łx", {true, true, std::nullopt, true}), "ae łx");
  EXPECT_EQ(normalized("ÀÉ", {true, true, std::nullopt, false}), "ÀÉ");
  EXPECT_EQ(normalized("ÀÉ", {true, true, false, true}), "àé");
  EXPECT_EQ(normalized("ÀÉ", {true, true, true, false}), "AE");
}

TEST(BertNormalizer, LowercaseLooksAtOneCharacterOnly) {
  EXPECT_EQ(normalized("ΟΔΟΣ", {false, false, false, true}), "οδοσ") << "no final sigma";
  EXPECT_EQ(normalized("İ", {false, false, false, true}), "i\xCC\x87");
}

TEST(BertNormalizer, DecomposesHangulWithAccents) {
  EXPECT_EQ(normalized("가", {false, false, true, false}), "\xE1\x84\x80\xE1\x85\xA1");
}

TEST(BertNormalizer, SortsMarksThatADroppedControlCharacterPartedBefore) {
  // U+302E (class 224, spacing since Unicode 6) and U+1D16D (class 226, spacing) both survive strip_accents.
  EXPECT_EQ(normalized("a\xF0\x9D\x85\xAD\xE2\x80\x8B\xE3\x80\xAE", {true, false, true, false}),
            normalized("a\xF0\x9D\x85\xAD\xE3\x80\xAE", {true, false, true, false}));
}

TEST(BertNormalizer, EmptyText) { EXPECT_EQ(normalized("", {}), ""); }

}  // namespace
}  // namespace peft::text
