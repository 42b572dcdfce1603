#include "src/text/models/wordpiece.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "peft/base/error.h"

namespace peft::text {
namespace {

using testing::ElementsAre;

std::vector<int32_t> pieces(const Model& model, std::string_view word) {
  std::vector<int32_t> ids;
  model.tokenize(word, ids);
  return ids;
}

// ids:                       0      1   2     3    4      5
constexpr auto kLines = "[UNK]\nun\n##aff\n##able\nunaffe\né\n";

TEST(WordPiece, LongestPieceFirst) {
  const auto model = make_wordpiece(Vocabulary::from_lines(kLines, "v.txt"), {}, "v.txt");
  EXPECT_THAT(pieces(*model, "unaffable"), ElementsAre(1, 2, 3));
  EXPECT_THAT(pieces(*model, "un"), ElementsAre(1));
  EXPECT_THAT(pieces(*model, "é"), ElementsAre(5));
}

TEST(WordPiece, OneUnknownPieceMakesTheWordUnknown) {
  const auto model = make_wordpiece(Vocabulary::from_lines(kLines, "v.txt"), {}, "v.txt");
  EXPECT_THAT(pieces(*model, "unaffx"), ElementsAre(0));
  EXPECT_THAT(pieces(*model, "unaffeable"), ElementsAre(4, 3));
  EXPECT_THAT(pieces(*model, "able"), ElementsAre(0)) << "only known as a continuation";
}

TEST(WordPiece, LongWordsAreUnknownByCharactersNotBytes) {
  const auto model =
      make_wordpiece(Vocabulary::from_lines("[UNK]\né\n##é\n", "v.txt"), {.max_input_chars_per_word = 3}, "v.txt");
  EXPECT_THAT(pieces(*model, "ééé"), ElementsAre(1, 2, 2));
  EXPECT_THAT(pieces(*model, "éééé"), ElementsAre(0));
}

TEST(WordPiece, OtherPrefixes) {
  const auto vocabulary = [] { return Vocabulary::from_lines("[UNK]\na\n@b\nb\n", "v.txt"); };
  EXPECT_THAT(pieces(*make_wordpiece(vocabulary(), {.continuing_subword_prefix = "@"}, "v.txt"), "ab"),
              ElementsAre(1, 2));
  EXPECT_THAT(pieces(*make_wordpiece(vocabulary(), {.continuing_subword_prefix = ""}, "v.txt"), "ab"),
              ElementsAre(1, 3));
}

TEST(WordPiece, VocabularyWithoutTheUnknownTokenIsAnError) {
  try {
    make_wordpiece(Vocabulary::from_lines("a\n", "v.txt"), {}, "v.txt");
    FAIL();
  } catch (const DataError& error) {
    EXPECT_STREQ(error.what(), "v.txt: unk_token \"[UNK]\" is not in the vocabulary");
  }
}

}  // namespace
}  // namespace peft::text
