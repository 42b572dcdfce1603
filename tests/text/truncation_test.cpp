#include "src/text/truncation.h"

#include <gtest/gtest.h>

#include "peft/base/error.h"

namespace peft::text {
namespace {

void expect(Kept kept, int64_t first, int64_t second) {
  EXPECT_EQ(kept.first, first);
  EXPECT_EQ(kept.second, second);
}

TEST(Truncation, LongestFirstAsMeasured) {
  constexpr auto rule = Truncation::longest_first;
  expect(truncate(10, 10, 8, rule), 4, 4);
  expect(truncate(10, 10, 9, rule), 4, 5);
  expect(truncate(10, 3, 8, rule), 5, 3);
  expect(truncate(3, 10, 9, rule), 3, 6);
  expect(truncate(30, 29, 9, rule), 5, 4);
  expect(truncate(29, 30, 9, rule), 4, 5);
  expect(truncate(3, 4, 0, rule), 0, 0);
  expect(truncate(3, 4, 7, rule), 3, 4);
}

TEST(Truncation, OneTextIsCutAtTheEnd) {
  expect(truncate(10, std::nullopt, 4, Truncation::longest_first), 4, 0);
  expect(truncate(10, std::nullopt, 4, Truncation::only_first), 4, 0);
  expect(truncate(4, std::nullopt, 4, Truncation::only_second), 4, 0);
  EXPECT_THROW(truncate(10, std::nullopt, 4, Truncation::only_second), DataError);
}

TEST(Truncation, OnlyOneTextIsTouched) {
  expect(truncate(10, 3, 8, Truncation::only_first), 5, 3);
  expect(truncate(3, 10, 8, Truncation::only_second), 3, 5);
  expect(truncate(10, 8, 8, Truncation::only_first), 0, 8);
  try {
    truncate(2, 9, 8, Truncation::only_first);
    FAIL();
  } catch (const DataError& error) {
    EXPECT_STREQ(error.what(), "truncation only_first: the second text alone has 9 tokens, room for 8");
  }
}

}  // namespace
}  // namespace peft::text
