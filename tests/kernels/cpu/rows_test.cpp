/// Row operations of the CPU against their definitions, for every instruction set that this processor has.

#include "src/kernels/cpu/rows.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/kernels/cpu/attention_case.h"

namespace peft::cpu {
namespace {

/// Rows of two adapters, the second of which may drop less or nothing.
struct Names {
  std::vector<RowName> rows;
  std::vector<MaskNames> masks;

  Names(int64_t count, double first, double second) {
    std::mt19937_64 random(static_cast<uint64_t>(count) + 5);
    for (const double p : {first, second}) {
      const auto limit = static_cast<uint32_t>(std::lround(p * 65536.0));
      masks.push_back({.key = {static_cast<uint32_t>(random()), static_cast<uint32_t>(random())},
                       .limit = limit,
                       .step = static_cast<uint32_t>(random() % 1000),
                       .scale = static_cast<float>(65536.0 / (65536.0 - limit))});
    }
    for (int64_t t = 0; t < count; ++t)
      rows.push_back({static_cast<uint32_t>(random() % 512), static_cast<uint32_t>(random() % 64), t % 3 == 2 ? 1 : 0});
  }
  RowMasks view() const { return {rows.data(), masks.data()}; }
  /// By peft::philox, one column at a time.
  double multiplier(int64_t row, int64_t column) const {
    const RowName& r = rows[row];
    const MaskNames& m = masks[r.adapter];
    const PhiloxCounter words =
        philox({static_cast<uint32_t>(column / 8), r.position, r.ordinal, m.step}, {m.key[0], m.key[1]});
    const uint32_t draw = words[column % 8 / 2] >> (16 * (column % 2)) & 0xFFFFU;
    return draw >= m.limit ? 65536.0 / (65536.0 - m.limit) : 0.0;
  }
};

template <class E>
std::vector<E> random_numbers(int64_t count, uint64_t seed, double scale = 1.0, double shift = 0.0) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  std::vector<E> x;
  for (int64_t i = 0; i < count; ++i) x.push_back(from_double<E>(shift + scale * normal(random)));
  return x;
}

template <class E>
void expect_dropout(double tolerance) {
  const int64_t rows = 7;
  const Names names(rows, 0.3, 0.0);
  for (const int64_t columns : {1, 7, 8, 9, 64, 100, 1023, 1024, 1025, 3000}) {
    const std::vector<E> x = random_numbers<E>(rows * columns, 3);
    const AllKernels all = all_kernels();
    for (int i = 0; i < all.count; ++i) {
      SCOPED_TRACE(fmt::format("{}, {} columns", all.items[i]->name, columns));
      std::vector<E> y(x.size() + 1, from_double<E>(7.0));
      for (const auto& [first, last] : {std::pair{2, 7}, std::pair{0, 2}})
        all.items[i]->rows.dropout(kElement<E>, names.view(), x.data(), y.data(), columns, first, last);
      for (int64_t t = 0; t < rows; ++t) {
        for (int64_t c = 0; c < columns; ++c) {
          const double expected = to_double(x[t * columns + c]) * names.multiplier(t, c);
          ASSERT_NEAR(to_double(y[t * columns + c]), expected, tolerance * std::max(std::abs(expected), 1e-3))
              << t << " " << c;
        }
      }
      EXPECT_EQ(to_double(y.back()), 7.0);
    }
  }
}

TEST(Rows, DropoutEqualsAPlainPhiloxLoop) {
  expect_dropout<double>(1e-15);
  expect_dropout<float>(1e-7);
  expect_dropout<Bfloat16>(4e-3);
  expect_dropout<_Float16>(5e-4);
}

struct NormCase {
  int64_t columns = 16;
  bool rms = false, branch = true, bias = true, drops = true, sum_has_gradient = false;
  double shift = 0.0;
};

template <class E>
void expect_norm(const NormCase& n, double tolerance) {
  const int64_t rows = 5, size = rows * n.columns;
  const Names names(rows, 0.25, 0.1);
  const std::vector<E> x = random_numbers<E>(size, 1, 1.0, n.shift), branch = random_numbers<E>(size, 2),
                       dy = random_numbers<E>(size, 3), dsum = random_numbers<E>(size, 4);
  const std::vector<float> weight = random_numbers<float>(n.columns, 5, 0.3, 1.0),
                           bias = random_numbers<float>(n.columns, 6);
  const double eps = 1e-5;
  std::vector<double> y(size), s(size), dx(size), dbranch(size);
  const AllKernels all = all_kernels();
  for (int i = 0; i < all.count; ++i) {
    SCOPED_TRACE(fmt::format("{}, element {}, {} columns, rms {}, branch {}, bias {}, drops {}, shift {}",
                             all.items[i]->name, static_cast<int>(kElement<E>), n.columns, n.rms, n.branch, n.bias,
                             n.drops, n.shift));
    std::vector<E> found_sum(size), found_y(size), found_dx(size), found_dbranch(size);
    std::vector<float> mean(rows), rstd(rows);
    ResidualNorm a{.element = kElement<E>,
                   .columns = n.columns,
                   .eps = eps,
                   .rms = n.rms,
                   .masks = n.drops ? names.view() : RowMasks{names.rows.data(), nullptr},
                   .x = x.data(),
                   .branch = n.branch ? branch.data() : nullptr,
                   .weight = weight.data(),
                   .bias = n.bias ? bias.data() : nullptr,
                   .sum = n.branch ? found_sum.data() : nullptr,
                   .y = found_y.data(),
                   .mean = mean.data(),
                   .rstd = rstd.data()};
    all.items[i]->rows.norm(a, 0, rows);
    if (n.branch) a.x = found_sum.data();
    a.branch = nullptr;
    const bool dropped = n.branch && n.drops;
    all.items[i]->rows.norm_backward(a,
                                     {.dy = dy.data(),
                                      .dsum = n.sum_has_gradient ? dsum.data() : nullptr,
                                      .dx = found_dx.data(),
                                      .dbranch = dropped ? found_dbranch.data() : nullptr},
                                     0, rows);
    for (int64_t t = 0; t < rows; ++t) {
      const int64_t at = t * n.columns;
      const auto count = static_cast<double>(n.columns);
      double average = 0.0, spread = 0.0, of_mean = 0.0, of_spread = 0.0;
      for (int64_t c = 0; c < n.columns; ++c) {
        const double mask = n.drops ? names.multiplier(t, c) : 1.0;
        s[at + c] = to_double(x[at + c]) + (n.branch ? mask * to_double(branch[at + c]) : 0.0);
        average += s[at + c] / count;
      }
      if (n.rms) average = 0.0;
      for (int64_t c = 0; c < n.columns; ++c) spread += std::pow(s[at + c] - average, 2) / count;
      const double scale = 1.0 / std::sqrt(spread + eps);
      for (int64_t c = 0; c < n.columns; ++c) {
        y[at + c] = (s[at + c] - average) * scale * weight[c] + (n.bias ? bias[c] : 0.0F);
        of_mean += to_double(dy[at + c]) * weight[c] / count;
        of_spread += to_double(dy[at + c]) * weight[c] * (s[at + c] - average) * scale / count;
      }
      for (int64_t c = 0; c < n.columns; ++c) {
        const double h = (s[at + c] - average) * scale;
        dx[at + c] = scale * (to_double(dy[at + c]) * weight[c] - (n.rms ? 0.0 : of_mean) - h * of_spread) +
                     (n.sum_has_gradient ? to_double(dsum[at + c]) : 0.0);
        dbranch[at + c] = dx[at + c] * (n.drops ? names.multiplier(t, c) : 1.0);
      }
    }
    EXPECT_LT(relative_error(doubles(found_y), y), tolerance);
    EXPECT_LT(relative_error(doubles(found_dx), dx), tolerance);
    if (n.branch) {
      EXPECT_LT(relative_error(doubles(found_sum), s), tolerance);
    }
    if (dropped) {
      EXPECT_LT(relative_error(doubles(found_dbranch), dbranch), tolerance);
    }
  }
}

TEST(Rows, NormEqualsItsDefinition) {
  for (const int64_t columns : {16, 48, 384, 1024, 1040, 3072}) {
    for (int choice = 0; choice < 32; ++choice) {
      const NormCase n{.columns = columns,
                       .rms = (choice & 1) != 0,
                       .branch = (choice & 2) != 0,
                       .bias = (choice & 4) != 0,
                       .drops = (choice & 8) != 0,
                       .sum_has_gradient = (choice & 16) != 0};
      expect_norm<float>(n, 1e-6);
      expect_norm<Bfloat16>(n, 8e-3);
      expect_norm<_Float16>(n, 1e-3);
    }
  }
}

TEST(Rows, NormOfRowsFarFromZero) {  // the mean goes first: no difference of large squares
  expect_norm<float>({.columns = 384, .drops = false, .shift = 1000.0}, 2e-4);
}

}  // namespace
}  // namespace peft::cpu
