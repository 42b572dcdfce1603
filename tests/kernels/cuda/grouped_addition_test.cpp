/// Whole low-rank additions by grouped_matmul, dropout of rows, and planning.

#include <gmock/gmock.h>

#include "tests/kernels/cuda/grouped_case.h"

namespace peft::cuda::matrix_tests {
namespace {

template <class T>
class GroupedAdditionCuda : public testing::Test {};
TYPED_TEST_SUITE(GroupedAdditionCuda, ElementTypes);

TYPED_TEST(GroupedAdditionCuda, DropoutDrawsTheMasksOfTheProjectsStreams) {
  using T = typename TypeParam::Type;
  for (const bool accumulate : {false, true}) {
    GroupedCase c(11, 2, {9, 0, 1, 20}, 72, 8);
    c.drops = true;
    c.streams[0] = mask_stream(1, 0.0);  // an adapter without dropout beside others
    std::mt19937_64 random(4);
    Guarded<T> x(c.rows, c.wide, c.wide + 8), y(c.rows, c.wide, c.wide + 16);
    x.fill_normal(random);
    if (accumulate) y.fill_normal(random);
    const Guarded<T> before = y;
    ASSERT_EQ(
        launch_row_dropout<T>(
            {kElement<T>, c.rows, c.wide, x.data(), x.stride(), y.data(), y.stride(), accumulate, c.masks()}, nullptr),
        0);
    EXPECT_EQ(y.broken_canary(), -1);
    int64_t dropped = 0;
    for (int32_t row = 0; row < c.rows; ++row) {
      for (int32_t i = 0; i < c.wide; ++i) {
        const double mask = c.mask(row, i);
        dropped += mask == 0.0;
        const auto add = static_cast<float>(mask) * to_float(x.row(row)[i]);
        const T expected = from_float<T>(accumulate ? to_float(before.row(row)[i]) + add : add);
        ASSERT_EQ(to_float(y(row, i)), to_float(expected)) << "row " << row << ", column " << i;
      }
    }
    EXPECT_GT(dropped, c.wide);
  }
}

/// Forward and backward of y += s D(x) A B, all six products in a chain, against double precision from the same inputs.
TYPED_TEST(GroupedAdditionCuda, AWholeLowRankAdditionEqualsTheFormulaInDouble) {
  using T = typename TypeParam::Type;
  GroupedCase in(21, 2, {40, 0, 1, 70}, 72, 8), out = in;
  in.drops = true;
  in.layout = FactorLayout::wide_by_rank;
  out.drops = false;
  out.wide = 40;
  out.layout = FactorLayout::rank_by_wide;
  GroupedCase in_plain = in, out_plain = out;  // the products without a scale of their own
  in_plain.scale.assign(in.groups(), 1.0F);
  out_plain.scale = in_plain.scale;
  const GroupedTensors<T> a(in, 1), b(out, 2);  // a.x is x, b.x is dy
  Guarded<T> h(in.rows, 8), dh(in.rows, 8), y(in.rows, out.wide), dx(in.rows, in.wide);
  Guarded<float> da(in.groups(), in.wide * 8, in.wide * 8), db(in.groups(), out.wide * 8, out.wide * 8);
  std::mt19937_64 random(5);
  y.fill_normal(random);
  dx.fill_normal(random);
  const Guarded<T> y0 = y, dx0 = dx;
  ASSERT_EQ(shrink(in, a.x.data(), a.x.stride(), a.weight.data(), h), 0);
  ASSERT_EQ(expand(out_plain, h.data(), h.stride(), b.weight.data(), y, true), 0);
  ASSERT_EQ(shrink(out, b.x.data(), b.x.stride(), b.weight.data(), dh), 0);
  ASSERT_EQ(expand(in_plain, dh.data(), dh.stride(), a.weight.data(), dx, true), 0);
  ASSERT_EQ(gradient(in_plain, a.x.data(), a.x.stride(), dh.data(), dh.stride(), da, false), 0);
  ASSERT_EQ(gradient(out_plain, b.x.data(), b.x.stride(), h.data(), h.stride(), db, false), 0);

  RelativeError of_y, of_dx, of_da, of_db;
  for (int k = 0; k < in.groups(); ++k) {
    const double s = in.scale[k];
    std::vector<double> a_sum(in.wide * 8, 0.0), b_sum(8 * out.wide, 0.0);
    for (int32_t t = in.group_rows[k]; t < in.group_rows[k + 1]; ++t) {
      double low[8] = {}, dlow[8] = {};
      for (int r = 0; r < 8; ++r) {
        for (int i = 0; i < in.wide; ++i) low[r] += s * in.mask(t, i) * a.x.value(t, i) * a.factor(in, k, i, r);
        for (int o = 0; o < out.wide; ++o) dlow[r] += s * b.x.value(t, o) * b.factor(out, k, o, r);
      }
      for (int o = 0; o < out.wide; ++o) {
        double sum = y0.value(t, o);
        for (int r = 0; r < 8; ++r) {
          sum += low[r] * b.factor(out, k, o, r);
          b_sum[r * out.wide + o] += low[r] * b.x.value(t, o);
        }
        of_y.add(y.value(t, o), sum);
      }
      for (int i = 0; i < in.wide; ++i) {
        double sum = 0.0;
        for (int r = 0; r < 8; ++r) {
          sum += dlow[r] * a.factor(in, k, i, r);
          a_sum[i * 8 + r] += in.mask(t, i) * a.x.value(t, i) * dlow[r];
        }
        of_dx.add(dx.value(t, i), dx0.value(t, i) + in.mask(t, i) * sum);
      }
    }
    for (int i = 0; i < in.wide * 8; ++i) of_da.add(da.value(k, i), a_sum[i]);
    for (int i = 0; i < out.wide * 8; ++i) of_db.add(db.value(k, i), b_sum[i]);
  }
  for (const RelativeError& error : {of_y, of_dx, of_da, of_db}) EXPECT_LE(error.value(), kTolerance<T>);
}

TEST(GroupedMatmulPlan, ItemsCoverTheRowsOfTheirGroupOnce) {
  std::mt19937_64 random(6);
  for (int round = 0; round < 100; ++round) {
    std::vector<int32_t> offsets{static_cast<int32_t>(random() % 4)};
    for (uint64_t k = 1 + random() % 6; k > 0; --k)
      offsets.push_back(offsets.back() + static_cast<int32_t>(random() % 3 == 0 ? 0 : random() % 700));
    const auto groups = static_cast<int32_t>(offsets.size()) - 1;
    const int32_t rows = offsets.back();
    const GroupedWorkList list = grouped_work_list(offsets, rows);
    for (const auto& [items, most] : {std::pair{&list.tiles, kGroupTileRows}, {&list.chunks, kGroupChunkRows}}) {
      EXPECT_EQ(items->size(), (rows + most - 1) / most + groups);
      int32_t next = offsets.front();
      for (const GroupItem& item : *items) {
        if (item.rows == 0) continue;
        EXPECT_EQ(item.row0, next);
        EXPECT_LE(item.rows, most);
        EXPECT_GE(item.row0, offsets[item.group]);
        EXPECT_LE(item.row0 + item.rows, offsets[item.group + 1]);
        EXPECT_EQ((item.row0 - offsets[item.group]) % most, 0);
        next += item.rows;
      }
      EXPECT_EQ(next, rows);
    }
    ASSERT_EQ(list.first_chunk.size(), offsets.size());
    for (int32_t k = 0; k < groups; ++k) {
      const int32_t size = offsets[k + 1] - offsets[k];
      EXPECT_EQ(list.first_chunk[k + 1] - list.first_chunk[k], (size + kGroupChunkRows - 1) / kGroupChunkRows);
    }
  }
}

TEST(GroupedMatmulPlan, GroupsOfSortedRows) {
  EXPECT_THAT(group_rows_of({-1, -1, 0, 2, 2, 2}, 4), testing::ElementsAre(2, 3, 3, 6, 6));
  EXPECT_THAT(group_rows_of({1, 1}, 2), testing::ElementsAre(0, 0, 2));
  EXPECT_THAT(group_rows_of({}, 2), testing::ElementsAre(0, 0, 0));
  EXPECT_THAT(group_rows_of({-1}, 1), testing::ElementsAre(1, 1));
}

template <class Plan>
std::string refusal(const Plan& plan) {
  try {
    plan();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "accepted";
}

TEST(GroupedMatmulPlan, UnsortedRowsAreRefused) {
  using testing::HasSubstr;
  EXPECT_THAT(refusal([] { group_rows_of({0, 2, 1}, 3); }), HasSubstr("row 2 has adapter 1 after 2"));
  EXPECT_THAT(refusal([] { group_rows_of({0, -1}, 3); }), HasSubstr("row 1 has adapter -1 after 0"));
  EXPECT_THAT(refusal([] { group_rows_of({0, 3}, 3); }), HasSubstr("row 1 has adapter 3 of 3"));
  EXPECT_THAT(refusal([] { grouped_work_list({0, 5, 3, 8}, 8); }), HasSubstr("group 1 has rows 5 to 3"));
  EXPECT_THAT(refusal([] { grouped_work_list({0, 5, 9}, 8); }), HasSubstr("to 9 of 8 rows"));
  EXPECT_THAT(refusal([] { grouped_work_list({-1, 5}, 5); }), HasSubstr("from -1"));
  EXPECT_THAT(refusal([] { grouped_work_list({}, 0); }), HasSubstr("no group offsets"));
}

TEST(GroupedMatmulPlan, ShapesThatTheKernelsCannotReadAreRefused) {
  const GroupedCase c(1, 0, {8}, 16, 8);
  const GroupedTensors<bf16> t(c, 1);
  Guarded<bf16> h(c.rows, 8);
  const auto status = [&](int32_t wide, int32_t rank, int64_t stride, int64_t offset) {
    GroupedCase changed = c;
    changed.wide = wide;
    changed.rank = rank;
    return shrink(changed, t.x.data() + offset, stride, t.weight.data(), h);
  };
  EXPECT_EQ(status(16, 8, t.x.stride(), 0), 0);
  EXPECT_EQ(status(12, 8, t.x.stride(), 0), kRefused);
  EXPECT_EQ(status(16, 0, t.x.stride(), 0), kRefused);
  EXPECT_EQ(status(16, 129, t.x.stride(), 0), kRefused);
  EXPECT_EQ(status(16, 8, t.x.stride() + 4, 0), kRefused);
  EXPECT_EQ(status(16, 8, t.x.stride(), 1), kRefused);
}

}  // namespace
}  // namespace peft::cuda::matrix_tests
