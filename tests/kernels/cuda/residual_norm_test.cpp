/// residual_norm on the emulator, against double precision.

#include "tests/kernels/cuda/residual_norm_case.h"

namespace peft::cuda {
namespace {

using namespace row_tests;

template <class T>
class ResidualNorm : public testing::Test {};
TYPED_TEST_SUITE(ResidualNorm, AllElements);

/// A row for every number of chunks a thread, warps and blocks; no multiple of 256 among most of them.
constexpr struct {
  int64_t rows;
  int32_t columns;
} kShapes[] = {{5, 128}, {3, 8}, {6, 264}, {9, 768}, {2, 1000}, {3, 1024}, {2, 1032}, {2, 2056}, {1, 4104}, {1, 8192}};

NormOptions random_options(std::mt19937_64& random) {
  const auto flip = [&] { return random() % 2 == 0; };
  NormOptions options;
  options.kind = flip() ? NormKind::layer_norm : NormKind::rms_norm;
  options.bias = flip();
  options.gamma = random() % 4 != 0;
  options.beta = flip();
  options.dropout = flip();
  options.residual_gradient = flip();
  options.mean = flip() ? 0.0 : 0.7;
  return options;
}

TYPED_TEST(ResidualNorm, EqualsDoubleForwardAndBackward) {
  using T = typename TypeParam::type;
  for (const auto& shape : kShapes) {
    for (const uint64_t seed : {1, 2}) {
      SCOPED_TRACE("columns " + std::to_string(shape.columns) + ", seed " + std::to_string(seed));
      std::mt19937_64 random(seed + static_cast<uint64_t>(shape.columns));
      NormCase<T> c(shape.rows, shape.columns, random_options(random), seed);
      c.forward();
      expect_forward<T>(c.sum.doubles(), c.expected_sum());
      const Doubles s = c.sum.doubles();
      Doubles expected;
      for (int64_t row = 0; row < c.rows; ++row) {
        const DoubleNorm norm = c.expected_norm(s, row);
        expected.insert(expected.end(), norm.y.begin(), norm.y.end());
        ASSERT_NEAR(to_float(c.rstd[row]), norm.rstd, 1e-6 * norm.rstd);
        if (c.options.kind == NormKind::layer_norm) {
          ASSERT_NEAR(to_float(c.mean[row]), norm.mean, 1e-6);
        } else {
          ASSERT_TRUE(std::isnan(c.mean[row]));  // not written
        }
      }
      expect_forward<T>(c.y.doubles(), expected);

      c.backward();
      const Doubles gradient = c.expected_gradient();
      expect_backward<T>(c.dx.doubles(), gradient);
      if (c.options.dropout) {
        Doubles branch = gradient;
        for (std::size_t i = 0; i < branch.size(); ++i)
          branch[i] *= c.masks.multiplier(static_cast<int64_t>(i / c.width()), static_cast<int64_t>(i % c.width()));
        expect_backward<T>(c.dbranch.doubles(), branch);
      }
      for (const Guarded<T>* each : {&c.sum, &c.y, &c.dx, &c.dbranch, &c.x, &c.branch, &c.dy})
        ASSERT_TRUE(each->guards_hold());
      ASSERT_TRUE(c.mean.guards_hold() && c.rstd.guards_hold());
    }
  }
}

/// The output moves by the gradient: an independent check of formula and reference.
TEST(ResidualNormGradient, EqualsADifferenceQuotient) {
  for (const NormKind kind : {NormKind::layer_norm, NormKind::rms_norm}) {
    NormCase<float> c(3, 136, {.kind = kind, .residual_gradient = true}, 11);
    c.forward();
    c.backward();
    const Doubles s = c.sum.doubles(), dy = c.dy.doubles(), dres = c.dresidual.doubles(), dx = c.dx.doubles();
    const auto loss = [&](const Doubles& at) {
      double sum = 0.0;
      for (int64_t row = 0; row < c.rows; ++row) {
        const DoubleNorm norm = c.expected_norm(at, row);
        for (std::size_t e = 0; e < c.width(); ++e) {
          const std::size_t i = static_cast<std::size_t>(row) * c.width() + e;
          sum += norm.y[e] * dy[i] + at[i] * dres[i];
        }
      }
      return sum;
    };
    for (const std::size_t i : {std::size_t{0}, std::size_t{135}, std::size_t{136}, std::size_t{300}}) {
      Doubles up = s, down = s;
      up[i] += 1e-5;
      down[i] -= 1e-5;
      EXPECT_NEAR(dx[i], (loss(up) - loss(down)) / 2e-5, 1e-5) << i;
    }
  }
}

TYPED_TEST(ResidualNorm, MaskIsTheSameInForwardAndBackward) {
  using T = typename TypeParam::type;
  for (const int32_t columns : {136, 1096}) {
    NormCase<T> c(6, columns, {.bias = false, .dropout = true}, 3);
    c.branch = Guarded<T>(c.x.size(), 1.0);
    c.x = Guarded<T>(c.x.size(), 0.0);
    c.forward();
    c.backward();
    std::size_t dropped = 0;
    for (std::size_t i = 0; i < c.x.size(); ++i) {
      const float multiplier = to_float(c.sum[i]);
      if (to_float(c.dx[i]) == 0.0F) continue;
      ASSERT_EQ(multiplier == 0.0F, to_float(c.dbranch[i]) == 0.0F) << i;
      dropped += multiplier == 0.0F;
    }
    EXPECT_GT(dropped, c.x.size() / 20);
  }
}

TYPED_TEST(ResidualNorm, ConstantRowsBecomeBeta) {
  using T = typename TypeParam::type;
  for (const int32_t columns : {136, 768, 3080}) {
    for (const double value : {0.0, 3.0, -1000.0}) {
      NormCase<T> c(2, columns, {.branch = false, .eps = 1e-6F}, 5);
      c.x = Guarded<T>(c.x.size(), value);
      c.forward();
      for (std::size_t i = 0; i < c.x.size(); ++i) ASSERT_EQ(to_float(c.y[i]), to_float(c.beta[i % c.width()])) << i;
      c.backward();
      for (const double d : c.dx.doubles()) ASSERT_TRUE(std::isfinite(d));
    }
  }
}

TYPED_TEST(ResidualNorm, LargeMeanWithSmallVarianceKeepsItsPrecision) {
  using T = typename TypeParam::type;
  for (const int32_t columns : {776, 1544}) {
    NormCase<T> c(3, columns, {.branch = false, .deviation = sizeof(T) == 4 ? 0.1 : 8.0, .mean = 1000.0}, 7);
    c.forward();
    const Doubles s = c.sum.doubles();
    Doubles expected;
    for (int64_t row = 0; row < c.rows; ++row) {
      const DoubleNorm norm = c.expected_norm(s, row);
      expected.insert(expected.end(), norm.y.begin(), norm.y.end());
    }
    expect_forward<T>(c.y.doubles(), expected);
    c.dy = c.y;    // along xhat, where an error of the mean shows most:
    c.backward();  // the saved mean is rounded to 6e-5, a relative 6e-4 of the deviation
    expect_backward<T>(c.dx.doubles(), c.expected_gradient(), 2e-5);
  }
}

TYPED_TEST(ResidualNorm, ComputesTheNormAgainFromTheSumAlone) {
  using T = typename TypeParam::type;
  for (const int32_t columns : {264, 1032}) {
    NormCase<T> c(4, columns, {.dropout = true}, 9);
    c.forward();
    Guarded<T> again(c.y.size());
    ResidualNormForward a = c.forward_arguments();
    a.x = c.sum.data();
    a.branch = nullptr;
    a.sum = nullptr;
    a.mean = a.rstd = nullptr;
    a.y = again.data();
    ASSERT_EQ(launch_residual_norm_forward(a, ElementOf<T>::value, nullptr), 0);
    EXPECT_TRUE(again.same_bits(c.y));
  }
}

TYPED_TEST(ResidualNorm, OutputsMayBeInputs) {
  using T = typename TypeParam::type;
  for (const int32_t columns : {520, 2568}) {
    const NormOptions options{.dropout = true, .residual_gradient = true};
    NormCase<T> apart(3, columns, options, 13), shared(3, columns, options, 13);
    apart.forward();
    ResidualNormForward f = shared.forward_arguments();
    f.sum = shared.branch.data();
    f.y = shared.x.data();
    ASSERT_EQ(launch_residual_norm_forward(f, ElementOf<T>::value, nullptr), 0);
    EXPECT_TRUE(shared.branch.same_bits(apart.sum));
    EXPECT_TRUE(shared.x.same_bits(apart.y));
    apart.backward();
    ResidualNormBackward b = shared.backward_arguments();
    b.sum = shared.branch.data();
    b.dx = shared.dresidual.data();
    b.dbranch = shared.dy.data();
    ASSERT_EQ(launch_residual_norm_backward(b, ElementOf<T>::value, nullptr), 0);
    EXPECT_TRUE(shared.dresidual.same_bits(apart.dx));
    EXPECT_TRUE(shared.dy.same_bits(apart.dbranch));
  }
}

TYPED_TEST(ResidualNorm, ThreadOrderAndNeighboursDoNotMatter) {
  using T = typename TypeParam::type;
  for (const int32_t columns : {400, 1800}) {
    std::optional<NormCase<T>> first;
    for (const uint64_t order : {1, 2, 3, 4}) {
      emulator::seed() = order;
      NormCase<T> c(5, columns, {.dropout = true}, 17);
      c.forward();
      c.backward();
      if (!first) first.emplace(c);
      EXPECT_TRUE(c.y.same_bits(first->y) && c.dx.same_bits(first->dx) && c.dbranch.same_bits(first->dbranch));
    }
    emulator::seed() = 1;
    NormCase<T> alone(5, columns, {.dropout = true}, 17);  // its last row by itself
    const std::size_t last = 4 * alone.width();
    ResidualNormForward f = alone.forward_arguments();
    f.x = alone.x.data() + last;
    f.branch = alone.branch.data() + last;
    f.rows = 1;
    f.dropout.rows += 4;
    ASSERT_EQ(launch_residual_norm_forward(f, ElementOf<T>::value, nullptr), 0);
    EXPECT_EQ(std::memcmp(alone.y.data(), first->y.data() + last, alone.width() * sizeof(T)), 0);
  }
}

TEST(ResidualNormShapes, EmptyBatchesAreFineAndOtherWidthsAreRefused) {
  NormCase<float> c(1, 128, {}, 1);
  ResidualNormForward f = c.forward_arguments();
  ResidualNormBackward b = c.backward_arguments();
  f.columns = b.columns = 100;
  EXPECT_NE(launch_residual_norm_forward(f, Element::float32, nullptr), 0);
  EXPECT_NE(launch_residual_norm_backward(b, Element::float32, nullptr), 0);
  f.columns = b.columns = 8200;
  EXPECT_NE(launch_residual_norm_forward(f, Element::float32, nullptr), 0);
  EXPECT_NE(launch_residual_norm_backward(b, Element::float32, nullptr), 0);
  f.rows = b.rows = 0;
  EXPECT_EQ(launch_residual_norm_forward(f, Element::float32, nullptr), 0);
  EXPECT_EQ(launch_residual_norm_backward(b, Element::float32, nullptr), 0);
  EXPECT_TRUE(std::isnan(c.y[0]));
}

}  // namespace
}  // namespace peft::cuda
