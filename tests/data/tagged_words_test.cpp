// Words and their tags, and windows over long texts.
#include "src/data/tagged_words.h"

#include "fixtures.h"
#include "src/data/windows.h"

namespace peft {
namespace {

using Spans = std::vector<Span>;

TEST(SplitWords, CutsAtWhiteSpaceAndAroundPunctuation) {
  EXPECT_EQ(split_words(""), Spans());
  EXPECT_EQ(split_words("  a\xC3\xA9\tb\xE3\x80\x80"
                        "c "),
            (Spans{{2, 4}, {5, 6}, {7, 8}}));
  EXPECT_EQ(split_words("don't,x"), (Spans{{0, 3}, {3, 4}, {4, 5}, {5, 6}, {6, 7}}));
  EXPECT_EQ(split_words("\xE2\x80\x9Cq\xE2\x80\x9D"), (Spans{{0, 1}, {1, 2}, {2, 3}}));  // quotation marks
}

TEST(FirstTokens, AWordHasTheTokenThatBeginsInIt) {
  const Spans tokens{{0, 0}, {0, 2}, {2, 3}, {4, 9}, {10, 12}, {0, 0}};
  EXPECT_EQ(first_tokens({{0, 3}, {4, 6}, {6, 9}, {10, 12}, {13, 14}}, tokens),
            (std::vector<int32_t>{1, 3, -1, 4, -1}));  // one token is two words, and the last word was cut off
  EXPECT_EQ(first_tokens({{0, 2}, {2, 4}}, {{2, 4}}), (std::vector<int32_t>{-1, 0}));  // a word without a token
  EXPECT_EQ(first_tokens({}, tokens), std::vector<int32_t>());
  EXPECT_EQ(first_tokens({{0, 1}}, {{0, 0}, {0, 0}}), std::vector<int32_t>{-1});
}

TEST(TagSpans, CutsWordsWhereASpanEndsInsideThem) {
  FlatRows rows;
  tag_spans({{"text", "New Yorkers."}, {"spans", {{{"start", 0}, {"end", 8}, {"label", "LOC"}}}}, {"idx", 7}}, rows);
  EXPECT_EQ(rows.rows.at(0), (Json{{"text", "New Yorkers."},
                                   {"tokens", {"New", "York", "ers", "."}},
                                   {"tags", {"B-LOC", "I-LOC", "O", "O"}},
                                   {"idx", 7}}));
}

Span span_of(const Encoding& window, TokenRange range) {
  return {window.offsets[static_cast<std::size_t>(range.first)].start,
          window.offsets[static_cast<std::size_t>(range.last)].end};
}

TEST(Windows, HoldTheQuestionAndOverlap) {
  const WordTokenizer tokenizer;
  const WindowEncoder encode(tokenizer, 9, 2);  // 1 q q 2, four words, 2
  const auto windows = encode("q q", "a b c d e f g");
  ASSERT_EQ(windows.size(), 3U);
  const auto all = tokenizer.encode("q q", "a b c d e f g", {}).ids;
  for (std::size_t w = 0; w < 3; ++w) {
    const Encoding& window = windows[w];
    const std::size_t words = w < 2 ? 4 : 3;
    ASSERT_EQ(window.ids.size(), 5 + words);
    EXPECT_TRUE(std::equal(all.begin(), all.begin() + 4, window.ids.begin()));
    EXPECT_TRUE(std::equal(window.ids.begin() + 4, window.ids.end() - 1, all.begin() + 4 + 2 * std::ptrdiff_t(w)));
    EXPECT_EQ(window.types, [&] {
      std::vector<int32_t> types(5 + words, 1);
      std::fill_n(types.begin(), 4, 0);
      return types;
    }());
    EXPECT_EQ(window.offsets.front(), outside_text);
    EXPECT_EQ(window.offsets[4], (Span{static_cast<int32_t>(4 * w), static_cast<int32_t>(4 * w) + 1}));
  }
  EXPECT_EQ(encode("q q", "").size(), 1U);
  EXPECT_EQ(encode("q q", "a b c d").size(), 1U);
  EXPECT_EQ(WindowEncoder(tokenizer, 9, 100)("q q", "a b c d e f g").size(), 3U);  // two words at most are shared
  EXPECT_EQ(WindowEncoder(tokenizer, 9, 0)("q q", "a b c d e f g").size(), 2U);
  EXPECT_EQ(WindowEncoder(tokenizer, 6, 5)("q q", "a b c").size(), 3U);  // one word each
  EXPECT_THROW(WindowEncoder(tokenizer, 5, 0)("q q", "a"), DataError);
}

TEST(Windows, AnAnswerIsFoundWhereAWindowHoldsAllOfIt) {
  const WordTokenizer tokenizer;
  const auto windows = WindowEncoder(tokenizer, 9, 2)("q q", "a b c d e f g");
  const Span answer{4, 7};  // c d
  for (std::size_t w = 0; w < 2; ++w) EXPECT_EQ(span_of(windows[w], find_answer(windows[w], answer)), answer) << w;
  const TokenRange none = find_answer(windows[2], answer);
  EXPECT_EQ(none.first, 0);
  EXPECT_EQ(none.last, 0);
  EXPECT_EQ(span_of(windows[2], find_answer(windows[2], {12, 13})), (Span{12, 13}));  // the last word
  EXPECT_EQ(span_of(windows[0], find_answer(windows[0], {0, 1})), (Span{0, 1}));
}

}  // namespace
}  // namespace peft
