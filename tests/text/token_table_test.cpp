#include "src/text/token_table.h"

#include <gtest/gtest.h>

namespace peft::text {
namespace {

TEST(TokenTable, FindsWhatWasInserted) {
  TokenTable table;
  for (int i = 0; i < 5000; ++i) EXPECT_TRUE(table.insert("token" + std::to_string(i), i));
  EXPECT_FALSE(table.insert("token17", 3));
  EXPECT_EQ(table.size(), 5000u);
  for (int i = 0; i < 5000; ++i) EXPECT_EQ(table.find("token" + std::to_string(i)), i);
  EXPECT_EQ(table.find("token5000"), std::nullopt);
  EXPECT_EQ(table.find(""), std::nullopt);
}

TEST(TokenTable, LongestPrefixBehindAHead) {
  TokenTable table;
  table.insert("a", 0);
  table.insert("abc", 1);
  table.insert("##b", 2);
  table.insert("##bcd", 3);
  table.insert("##", 4);
  const TokenTable::Head head("##");
  const auto expect = [&](TokenTable::Match match, int32_t value, std::size_t length) {
    EXPECT_EQ(match.value, value);
    EXPECT_EQ(match.length, length);
  };
  expect(table.longest_prefix("abd"), 0, 1);
  expect(table.longest_prefix("abcd"), 1, 3);
  expect(table.longest_prefix("abc"), 1, 3);
  expect(table.longest_prefix("bcd", head), 3, 3);
  expect(table.longest_prefix("bc", head), 2, 1);
  expect(table.longest_prefix("bcdefghijk", head), 3, 3);
  EXPECT_EQ(table.longest_prefix("xyz").length, 0u);
  EXPECT_EQ(table.longest_prefix("", head).length, 0u) << "the head alone is no match";
  EXPECT_EQ(table.longest_prefix("a", TokenTable::Head("longer than any")).length, 0u);
  EXPECT_EQ(TokenTable().longest_prefix("a").length, 0u);
}

TEST(TokenTable, EmptyTokenIsFoundButNeverAPrefix) {
  TokenTable table;
  table.insert("", 7);
  EXPECT_EQ(table.find(""), 7);
  EXPECT_EQ(table.longest_prefix("a").length, 0u);
}

}  // namespace
}  // namespace peft::text
