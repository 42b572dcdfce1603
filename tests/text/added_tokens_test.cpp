#include "src/text/added_tokens.h"

#include <gtest/gtest.h>

#include "peft/base/error.h"

namespace peft::text {
namespace {

/// "a|<x>|b" with the found tokens in <>; the form searched is the content.
std::string split(const std::vector<AddedToken>& tokens, std::string_view text) {
  AddedTokenFinder finder;
  for (const AddedToken& token : tokens) finder.add(token, token.content);
  std::vector<Piece> pieces;
  finder.split(text, pieces);
  std::string out;
  for (const Piece& piece : pieces) {
    if (!out.empty()) out += '|';
    if (piece.id == Piece::kText) {
      out += piece.text;
    } else {
      out += '<' + std::to_string(piece.id) + '>';
    }
  }
  return out;
}

TEST(AddedTokens, LeftmostLongest) {
  EXPECT_EQ(split({{.content = "ab", .id = 1}, {.content = "abc", .id = 2}, {.content = "b", .id = 3}}, "xabcbab"),
            "x|<2>|<3>|<1>");
  EXPECT_EQ(split({}, "abc"), "abc");
  EXPECT_EQ(split({{.content = "ab", .id = 1}}, ""), "");
}

TEST(AddedTokens, SingleWordNeedsNoWordCharacterBeside) {
  const std::vector<AddedToken> tokens = {{.content = "ab", .id = 1, .single_word = true}};
  EXPECT_EQ(split(tokens, "ab,ab abc cab éab ab_"), "<1>|,|<1>| abc cab éab ab_");
}

TEST(AddedTokens, RefusedMatchIsNotTriedShorter) {
  EXPECT_EQ(split({{.content = "ab", .id = 1}, {.content = "abc", .id = 2, .single_word = true}}, "abcd"), "abcd");
}

TEST(AddedTokens, StripsSwallowWhiteSpace) {
  EXPECT_EQ(split({{.content = "X", .id = 1, .lstrip = true}}, "a \xE3\x80\x80 X b"), "a|<1>| b");
  EXPECT_EQ(split({{.content = "X", .id = 1, .rstrip = true}}, "a X \t b"), "a |<1>|b");
  EXPECT_EQ(split({{.content = "X", .id = 1, .lstrip = true, .rstrip = true}}, "X  X"), "<1>|<1>");
}

TEST(AddedTokens, TwoSetsByNormalisation) {
  const auto lower = make_bert_normalizer({});
  const AddedTokens added({{.content = "NEW", .id = 1, .normalized = true}, {.content = "RAW", .id = 2}}, lower.get(),
                          "t.json");
  std::vector<Piece> pieces;
  added.normalized().split("a new RAW", pieces);
  ASSERT_EQ(pieces.size(), 3u);
  EXPECT_EQ(pieces[1].id, 1);
  added.raw().split("new RAW", pieces);
  ASSERT_EQ(pieces.size(), 2u);
  EXPECT_EQ(pieces[1].id, 2);
}

TEST(AddedTokens, NothingToLookForIsAnError) {
  const auto lower = make_bert_normalizer({});
  EXPECT_THROW(AddedTokens({{.content = ""}}, nullptr, "t.json"), DataError);
  EXPECT_THROW(AddedTokens({{.content = "\xCC\x81", .normalized = true}}, lower.get(), "t.json"), DataError);
}

}  // namespace
}  // namespace peft::text
