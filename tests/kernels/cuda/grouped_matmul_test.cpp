/// The three products of grouped_matmul on the emulator, against double precision.

#include <gtest/gtest.h>

#include "tests/kernels/cuda/grouped_case.h"

namespace peft::cuda::matrix_tests {
namespace {

constexpr uint64_t kCases = 12;

template <class T>
class GroupedMatmulCuda : public testing::Test {};
TYPED_TEST_SUITE(GroupedMatmulCuda, ElementTypes);

TYPED_TEST(GroupedMatmulCuda, ShrinkEqualsTheFormulaInDouble) {
  using T = typename TypeParam::Type;
  for (uint64_t seed = 1; seed <= kCases; ++seed) {
    const GroupedCase c = GroupedCase::random(seed);
    SCOPED_TRACE("seed " + std::to_string(seed) + ": " + c.name());
    const GroupedTensors<T> t(c, seed);
    Guarded<T> h(c.rows, c.padded_rank(), c.padded_rank() + 16);
    ASSERT_EQ(shrink(c, t.x.data(), t.x.stride(), t.weight.data(), h), 0);
    EXPECT_EQ(h.broken_canary(), -1);
    RelativeError error;
    for (int32_t row = 0; row < c.rows; ++row) {
      const int k = c.group(row);
      for (int64_t r = 0; r < c.padded_rank(); ++r) {
        if (k < 0) {
          ASSERT_TRUE(is_nan(h.value(row, r))) << "row " << row << " has no adapter and was written";
          continue;
        }
        double sum = 0.0;
        for (int32_t i = 0; r < c.rank && i < c.wide; ++i)
          sum += c.mask(row, i) * t.x.value(row, i) * t.factor(c, k, i, r);
        if (r >= c.rank) {
          ASSERT_EQ(h.value(row, r), 0.0) << "row " << row << ", column " << r << " of the padding";
        }
        error.add(h.value(row, r), static_cast<double>(c.scale[k]) * sum);
      }
    }
    EXPECT_LE(error.value(), kTolerance<T>);
  }
}

TYPED_TEST(GroupedMatmulCuda, ExpandEqualsTheFormulaInDouble) {
  using T = typename TypeParam::Type;
  for (uint64_t seed = 1; seed <= kCases; ++seed) {
    const GroupedCase c = GroupedCase::random(seed);
    const bool accumulate = seed % 2 == 0;
    SCOPED_TRACE("seed " + std::to_string(seed) + ": " + c.name() + (accumulate ? ", adds" : ""));
    const GroupedTensors<T> t(c, seed);
    Guarded<T> y(c.rows, c.wide, c.wide + 40);
    std::mt19937_64 random(seed);
    if (accumulate) y.fill_normal(random, 3.0);
    const Guarded<T> before = y;
    ASSERT_EQ(expand(c, t.h.data(), t.h.stride(), t.weight.data(), y, accumulate), 0);
    EXPECT_EQ(y.broken_canary(), -1);
    RelativeError error;
    for (int32_t row = 0; row < c.rows; ++row) {
      const int k = c.group(row);
      if (k < 0) {
        ASSERT_EQ(std::memcmp(y.row(row), before.row(row), c.wide * sizeof(T)), 0)
            << "row " << row << " has no adapter and was written";
        continue;
      }
      for (int32_t i = 0; i < c.wide; ++i) {
        double sum = 0.0;
        for (int64_t r = 0; r < c.rank; ++r) sum += t.h.value(row, r) * t.factor(c, k, i, r);
        sum *= static_cast<double>(c.scale[k]) * c.mask(row, i);
        error.add(y.value(row, i), accumulate ? before.value(row, i) + sum : sum);
      }
    }
    EXPECT_LE(error.value(), kTolerance<T>);
  }
}

/// dW of the case's tensors against the formula, added to `before`.
template <class T>
void check_gradient(const GroupedCase& c, const GroupedTensors<T>& t, const Guarded<float>& out,
                    const Guarded<float>* before) {
  for (int k = 0; k < c.groups(); ++k) {
    RelativeError error;
    for (int32_t i = 0; i < c.wide; ++i) {
      for (int32_t r = 0; r < c.rank; ++r) {
        double sum = 0.0;
        for (int32_t row = c.group_rows[k]; row < c.group_rows[k + 1]; ++row)
          sum += c.mask(row, i) * t.x.value(row, i) * t.h.value(row, r);
        const int64_t at = c.layout == FactorLayout::wide_by_rank ? i * c.rank + r : r * c.wide + i;
        error.add(out.value(k, at), static_cast<double>(c.scale[k]) * sum + (before ? before->value(k, at) : 0.0));
      }
    }
    EXPECT_LE(error.value(), 1e-6) << "group " << k;  // float32 sums of exact products: nothing is rounded to T
  }
}

TYPED_TEST(GroupedMatmulCuda, GradientEqualsTheFormulaInDouble) {
  using T = typename TypeParam::Type;
  for (uint64_t seed = 1; seed <= kCases; ++seed) {
    const GroupedCase c = GroupedCase::random(seed);
    const bool accumulate = seed % 2 == 0;
    SCOPED_TRACE("seed " + std::to_string(seed) + ": " + c.name() + (accumulate ? ", adds" : ""));
    const GroupedTensors<T> t(c, seed);
    Guarded<float> out(c.groups(), t.weight.columns(), t.weight.columns());
    std::mt19937_64 random(seed);
    if (accumulate) out.fill_normal(random);
    const Guarded<float> before = out;
    ASSERT_EQ(gradient(c, t.x.data(), t.x.stride(), t.h.data(), t.h.stride(), out, accumulate), 0);
    EXPECT_EQ(out.broken_canary(), -1);
    check_gradient(c, t, out, accumulate ? &before : nullptr);
  }
}

TYPED_TEST(GroupedMatmulCuda, GradientAddsTheChunksOfALongGroup) {
  using T = typename TypeParam::Type;
  GroupedCase c(3, 2, {0, 6 * kGroupChunkRows + 3, 0, kGroupChunkRows}, 16, 5);
  const GroupedTensors<T> t(c, 3);
  Guarded<float> out(c.groups(), t.weight.columns(), t.weight.columns());
  ASSERT_EQ(gradient(c, t.x.data(), t.x.stride(), t.h.data(), t.h.stride(), out, false), 0);
  EXPECT_EQ(out.broken_canary(), -1);
  check_gradient<T>(c, t, out, nullptr);
}

TYPED_TEST(GroupedMatmulCuda, ABankEqualsSeparateRunsBitForBit) {
  using T = typename TypeParam::Type;
  for (const uint64_t seed : {2, 5}) {
    GroupedCase c(seed, 3, {70, 0, 1, 260}, 72, seed == 5 ? 20 : 8);
    c.drops = true;
    SCOPED_TRACE(c.name());
    const GroupedTensors<T> t(c, seed);
    Guarded<T> h(c.rows, c.padded_rank()), y = t.x;
    Guarded<float> dw(c.groups(), t.weight.columns(), t.weight.columns());
    ASSERT_EQ(shrink(c, t.x.data(), t.x.stride(), t.weight.data(), h), 0);
    ASSERT_EQ(expand(c, t.h.data(), t.h.stride(), t.weight.data(), y, true), 0);
    ASSERT_EQ(gradient(c, t.x.data(), t.x.stride(), t.h.data(), t.h.stride(), dw, false), 0);
    for (int k = 0; k < c.groups(); ++k) {
      const GroupedCase one = c.only(k);
      const int64_t first = c.group_rows[k];
      Guarded<T> self_h(one.rows, c.padded_rank()), self_y(one.rows, c.wide);
      Guarded<float> self_dw(1, t.weight.columns(), t.weight.columns());
      for (int32_t row = 0; row < one.rows; ++row)
        std::memcpy(self_y.row(row), t.x.row(first + row), c.wide * sizeof(T));
      ASSERT_EQ(shrink(one, t.x.row(first), t.x.stride(), t.weight.row(k), self_h), 0);
      ASSERT_EQ(expand(one, t.h.row(first), t.h.stride(), t.weight.row(k), self_y, true), 0);
      ASSERT_EQ(gradient(one, t.x.row(first), t.x.stride(), t.h.row(first), t.h.stride(), self_dw, false), 0);
      for (int32_t row = 0; row < one.rows; ++row) {
        ASSERT_EQ(std::memcmp(self_h.row(row), h.row(first + row), h.columns() * sizeof(T)), 0) << row;
        ASSERT_EQ(std::memcmp(self_y.row(row), y.row(first + row), y.columns() * sizeof(T)), 0) << row;
      }
      EXPECT_EQ(std::memcmp(self_dw.row(0), dw.row(k), dw.columns() * sizeof(float)), 0) << "group " << k;
    }
  }
}

TYPED_TEST(GroupedMatmulCuda, ThreadOrderDoesNotMatter) {
  using T = typename TypeParam::Type;
  GroupedCase c(8, 0, {70, 17}, 136, 24);
  c.drops = true;
  const GroupedTensors<T> t(c, 8);
  std::vector<Guarded<T>> h, y;
  std::vector<Guarded<float>> dw;
  for (const uint64_t order : {1, 2, 3, 4}) {
    emulator::seed() = order;
    h.emplace_back(c.rows, c.padded_rank());
    y.push_back(t.x);
    dw.emplace_back(c.groups(), t.weight.columns(), t.weight.columns());
    ASSERT_EQ(shrink(c, t.x.data(), t.x.stride(), t.weight.data(), h.back()), 0);
    ASSERT_EQ(expand(c, t.h.data(), t.h.stride(), t.weight.data(), y.back(), true), 0);
    ASSERT_EQ(gradient(c, t.x.data(), t.x.stride(), t.h.data(), t.h.stride(), dw.back(), false), 0);
    EXPECT_TRUE(h.back().same_bits(h.front()));
    EXPECT_TRUE(y.back().same_bits(y.front()));
    EXPECT_TRUE(dw.back().same_bits(dw.front()));
  }
  emulator::seed() = 1;
}

}  // namespace
}  // namespace peft::cuda::matrix_tests
