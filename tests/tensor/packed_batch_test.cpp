#include "peft/tensor/packed_batch.h"

#include <gmock/gmock.h>

#include "peft/base/error.h"
#include "tests/support/tensors.h"

namespace peft {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

std::vector<int64_t> values(const at::Tensor& t) { return {t.data_ptr<int64_t>(), t.data_ptr<int64_t>() + t.numel()}; }

TEST(PackedBatch, RowsOfSequencesFollowOneAnother) {
  const PackedBatch batch({{3, 0, 7}, {1, 0, 8}, {2, 2, 9}}, 3);
  EXPECT_EQ(batch.rows(), 6);
  EXPECT_EQ(batch.sequences(), 3);
  EXPECT_EQ(batch.adapters(), 3);
  EXPECT_THAT(batch.cu(), ElementsAre(0, 3, 4, 6));
  EXPECT_THAT(batch.index(), ElementsAre(0, 1, 2, 0, 0, 1));
  EXPECT_EQ(values(batch.position_T()), batch.index());
  EXPECT_EQ(batch.begin(2), 4);
  EXPECT_EQ(batch.length(2), 2);
  EXPECT_EQ(batch.adapter(2), 2);
  EXPECT_EQ(batch.ordinal(2), 9);
}

TEST(PackedBatch, AdaptersOwnContiguousRangesEvenEmptyOnes) {
  const PackedBatch batch({{3, 1, 0}, {1, 1, 1}, {2, 3, 0}}, 5);
  EXPECT_THAT(batch.group_rows(), ElementsAre(0, 0, 4, 4, 6, 6));
  EXPECT_THAT(batch.group_sequences(), ElementsAre(0, 0, 2, 2, 3, 3));
}

TEST(PackedBatch, MayBeEmptyAndHoldEmptySequences) {
  const PackedBatch none({}, 2);
  EXPECT_EQ(none.rows(), 0);
  EXPECT_EQ(none.sequences(), 0);
  EXPECT_THAT(none.group_rows(), ElementsAre(0, 0, 0));
  const PackedBatch gap({{2, 0, 0}, {0, 0, 1}, {1, 1, 0}}, 2);
  EXPECT_THAT(gap.cu(), ElementsAre(0, 2, 2, 3));
  EXPECT_THAT(gap.group_rows(), ElementsAre(0, 2, 3));
}

TEST(PackedBatch, LengthenedAddsRowsToEverySequence) {
  const Batch longer = PackedBatch({{3, 0, 7}, {1, 2, 8}}, 3).lengthened(2);
  EXPECT_THAT(longer->cu(), ElementsAre(0, 5, 8));
  EXPECT_THAT(longer->index(), ElementsAre(0, 1, 2, 3, 4, 0, 1, 2));
  EXPECT_THAT(longer->group_rows(), ElementsAre(0, 5, 5, 8));
  EXPECT_THAT(longer->group_sequences(), ElementsAre(0, 1, 1, 2));
  EXPECT_EQ(longer->ordinal(1), 8);
}

TEST(PackedBatch, PositionsCountFromTheStart) {
  const PackedBatch batch({{2, 0, 7, 5}, {3, 2, 8}}, 3);
  EXPECT_THAT(values(batch.position_T()), ElementsAre(5, 6, 0, 1, 2));
  EXPECT_EQ(batch.position(0, 1), 6);
  EXPECT_THAT(batch.index(), ElementsAre(0, 1, 0, 1, 2));
  EXPECT_THAT(values(batch.lengthened(1)->position_T()), ElementsAre(5, 6, 7, 0, 1, 2, 3));
  EXPECT_THAT(values(batch.select({1, 4})->position_T()), ElementsAre(6, 2));
  const Batch moved = batch.starting_at({1, 9});
  EXPECT_THAT(values(moved->position_T()), ElementsAre(1, 2, 9, 10, 11));
  EXPECT_THAT(moved->index(), ElementsAre(0, 1, 0, 1, 2));
  EXPECT_THAT(values(batch.position_T()), ElementsAre(5, 6, 0, 1, 2));
  EXPECT_THROW(batch.starting_at({1}), Error);
  EXPECT_THROW(batch.starting_at({1, -1}), Error);
}

TEST(PackedBatch, SelectKeepsRowsWithTheirIndexInTheirSequences) {
  const PackedBatch batch({{3, 0, 7}, {0, 0, 8}, {4, 2, 9}}, 3);
  const Batch some = batch.select({0, 2, 6});
  EXPECT_THAT(some->cu(), ElementsAre(0, 2, 2, 3));
  EXPECT_THAT(some->index(), ElementsAre(0, 2, 3));
  EXPECT_THAT(some->group_rows(), ElementsAre(0, 2, 2, 3));
  EXPECT_THAT(some->group_sequences(), ElementsAre(0, 2, 2, 3));
  EXPECT_EQ(batch.select({})->rows(), 0);
  for (const std::vector<int64_t>& wrong : {std::vector<int64_t>{7}, {-1}, {2, 1}, {3, 3}})
    EXPECT_THROW(batch.select(wrong), Error) << wrong.front();
}

TEST(PackedBatch, OneRowOfEachSequenceKeepsItsIndex) {
  const PackedBatch batch({{3, 0, 7}, {4, 2, 8}, {3, 2, 9}}, 3);
  const std::vector<int64_t> rows{2, 5, 9};
  const Batch picked = batch.select(rows);
  EXPECT_THAT(picked->cu(), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(picked->index(), ElementsAre(2, 2, 2));
  EXPECT_THAT(picked->group_rows(), ElementsAre(0, 1, 1, 3));
  EXPECT_EQ(picked->adapter(1), 2);
  EXPECT_EQ(picked->ordinal(2), 9);
  EXPECT_EQ(values(row_numbers(rows, batch)), rows);
  EXPECT_THAT(batch.one_each()->index(), ElementsAre(0, 0, 0));
  EXPECT_EQ(batch.one_each()->ordinal(2), 9);
}

TEST(PackedBatch, RefusesWhatBreaksItsInvariants) {
  const auto make = [](const std::vector<PackedBatch::Sequence>& sequences) { return PackedBatch(sequences, 2); };
  EXPECT_THAT(
      [&] {
        make({{2, 1, 0}, {3, 0, 0}});
      },
      ThrowsMessage<Error>(HasSubstr("sequence 1 has length 3, adapter 0 of 2")));
  EXPECT_THAT([&] { make({{2, 2, 0}}); }, ThrowsMessage<Error>(HasSubstr("sequence 0 has length 2, adapter 2 of 2")));
  EXPECT_THAT([&] { make({{2, -1, 0}}); }, ThrowsMessage<Error>(HasSubstr("adapter -1 of 2")));
  EXPECT_THAT([&] { make({{-1, 0, 0}}); }, ThrowsMessage<Error>(HasSubstr("length -1")));
}

}  // namespace
}  // namespace peft
