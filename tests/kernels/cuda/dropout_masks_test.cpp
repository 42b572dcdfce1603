/// The masks of common/dropout.h against the project's own generator, bit for bit.

#include <gtest/gtest.h>

#include "tests/kernels/cuda/masks.h"

namespace peft::cuda {
namespace {

using namespace row_tests;

TEST(DropoutMasks, EqualTheProjectsGenerator) {
  std::mt19937_64 random(1);
  for (const double p : {0.0, 0.1, 0.5, 0.9, 0.999999}) {
    const Masks masks(40, random, p);
    for (int64_t row = 0; row < 40; ++row) {
      const RowMask mask(masks.arguments(), row);
      for (int64_t column = 0; column < 1000; ++column) {
        const MaskChunk chunk = mask.chunk(static_cast<int>(column / 8));
        ASSERT_EQ(chunk.apply(static_cast<int>(column % 8), 1.0F), static_cast<float>(masks.multiplier(row, column)))
            << "row " << row << ", column " << column << ", p " << p;
      }
    }
  }
}

TEST(DropoutMasks, StreamsHoldSeedLimitAndScale) {
  const MaskStream stream = mask_stream(0x0123456789abcdefULL, 0.25);
  EXPECT_EQ(stream.key[0], 0x89abcdefU);
  EXPECT_EQ(stream.key[1], 0x01234567U);
  EXPECT_EQ(stream.limit, 16384U);
  EXPECT_EQ(stream.scale, 4.0F / 3.0F);
  EXPECT_EQ(mask_stream(1, 0.0).scale, 1.0F);
  EXPECT_EQ(mask_stream(1, 0.999999).limit, 65535U);  // one draw is left, the scale stays finite
  EXPECT_EQ(mask_stream(1, 0.999999).scale, 65536.0F);
}

TEST(DropoutMasks, NoStreamsNoAdapterAndNoProbabilityKeepEverything) {
  std::mt19937_64 random(2);
  Masks masks(1, random, 0.5);
  masks.rows[0].adapter = -1;
  EXPECT_EQ(RowMask(masks.arguments(), 0).chunk(3).apply(5, 2.5F), 2.5F);
  EXPECT_EQ(RowMask(NamedDropout{}, 0).chunk(3).apply(5, 2.5F), 2.5F);
  masks.rows[0].adapter = 0;
  masks.streams[0] = mask_stream(7, 0.0);
  EXPECT_EQ(RowMask(masks.arguments(), 0).chunk(3).apply(5, 2.5F), 2.5F);
}

TEST(DropoutMasks, TheStepIsReadWhenTheMaskIsMade) {
  std::mt19937_64 random(3);
  Masks masks(1, random, 0.5);
  masks.rows[0].adapter = 2;
  const auto kept = [&] {
    std::vector<float> values;
    for (int i = 0; i < 512; ++i) values.push_back(RowMask(masks.arguments(), 0).chunk(i / 8).apply(i % 8, 1.0F));
    return values;
  };
  const std::vector<float> before = kept();
  ++masks.steps[2];
  EXPECT_NE(kept(), before);
  --masks.steps[2];
  EXPECT_EQ(kept(), before);
}

TEST(DropoutMasks, RowsCarryPositionOrdinalAndAdapter) {
  const std::vector<MaskRow> rows = mask_rows({0, 2, 2, 5}, {0, 1, 3}, {9, 8, 4});
  ASSERT_EQ(rows.size(), 5U);
  const int32_t adapters[] = {0, 0, 3, 3, 3};
  const uint32_t positions[] = {0, 1, 0, 1, 2}, ordinals[] = {9, 9, 4, 4, 4};
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(rows[i].adapter, adapters[i]);
    EXPECT_EQ(rows[i].position, positions[i]);
    EXPECT_EQ(rows[i].ordinal, ordinals[i]);
  }
  const std::vector<MaskRow> picked = picked_mask_rows(20, {0, 3}, {9, 4});
  ASSERT_EQ(picked.size(), 2U);
  EXPECT_EQ(picked[1].position, 20U);
  EXPECT_EQ(picked[1].ordinal, 4U);
  EXPECT_EQ(picked[1].adapter, 3);
}

}  // namespace
}  // namespace peft::cuda
