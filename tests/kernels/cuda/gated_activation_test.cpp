/// gated_activation on the emulator, against double precision.

#include "src/kernels/cuda/gated_activation/kernels.cuh"
#include "src/kernels/cuda/gated_activation/launch.cuh"
#include "tests/kernels/cuda/activation_double.h"
#include "tests/kernels/cuda/elements.h"
#include "tests/kernels/cuda/masks.h"

namespace peft::cuda {
namespace {

using namespace row_tests;

constexpr Activation kKinds[] = {Activation::silu, Activation::gelu, Activation::gelu_tanh};

/// gate and up are slices of one projection: [T, gap, gate F, gap, up F, gap], gaps of 8 elements.
template <class T>
struct Case {
  int64_t rows;
  int32_t columns;
  int64_t stride;
  Activation kind;
  bool dropout;
  std::mt19937_64 random;
  Guarded<T> projection, dout, out, again;
  Masks masks;

  Case(int64_t row_count, int32_t column_count, Activation which, bool drop, uint64_t seed, double deviation = 1.0)
      : rows(row_count),
        columns(column_count),
        stride(2 * column_count + 24),
        kind(which),
        dropout(drop),
        random(seed),
        projection(random_elements<T>(static_cast<std::size_t>(row_count * stride), random, deviation)),
        dout(random_elements<T>(static_cast<std::size_t>(row_count * column_count), random)),
        out(dout.size()),
        again(dout.size()),
        masks(row_count, random) {}

  T* gate() { return projection.data() + 8; }
  T* up() { return projection.data() + 16 + columns; }
  NamedDropout names() const { return dropout ? masks.arguments() : NamedDropout{}; }
  GatedActivationForward forward_arguments() { return {gate(), up(), stride, out.data(), rows, columns, names()}; }
  GatedActivationBackward backward_arguments() {
    return {dout.data(), gate(), up(), stride, again.data(), rows, columns, names()};
  }
  void forward() {
    ASSERT_EQ(launch_gated_activation_forward(forward_arguments(), kind, ElementOf<T>::value, nullptr), 0);
  }
  void backward() {
    ASSERT_EQ(launch_gated_activation_backward(backward_arguments(), kind, ElementOf<T>::value, nullptr), 0);
  }
};

template <class T>
class GatedActivation : public testing::Test {};
TYPED_TEST_SUITE(GatedActivation, AllElements);

TYPED_TEST(GatedActivation, EqualsDoubleForwardAndInPlaceBackward) {
  using T = typename TypeParam::type;
  for (const Activation kind : kKinds) {
    for (const auto& [rows, columns] : {std::pair{5, 8}, {4, 1024}, {3, 1160}, {1, 2728}}) {
      const uint64_t seed = static_cast<uint64_t>(columns) + static_cast<uint64_t>(kind);
      SCOPED_TRACE("columns " + std::to_string(columns) + ", seed " + std::to_string(seed));
      Case<T> c(rows, columns, kind, seed % 2 == 0, seed, columns == 8 ? 3.0 : 1.0);
      const Doubles before = c.projection.doubles(), g = c.dout.doubles();
      c.forward();
      Doubles out, expected_projection = before;
      for (int64_t row = 0; row < rows; ++row) {
        for (int64_t f = 0; f < columns; ++f) {
          const auto gate = static_cast<std::size_t>(row * c.stride + 8 + f), up = gate + 8 + columns;
          const double keep = c.dropout ? c.masks.multiplier(row, f) : 1.0;
          const Double act = activate_double(kind, before[gate]);
          out.push_back(keep * act.value * before[up]);
          const double dropped = keep * g[static_cast<std::size_t>(row * columns + f)];
          expected_projection[gate] = dropped * before[up] * act.slope;
          expected_projection[up] = dropped * act.value;
        }
      }
      expect_forward<T>(c.out.doubles(), out);
      c.backward();
      const Doubles after = c.projection.doubles();
      Doubles gradient, expected;
      for (std::size_t i = 0; i < after.size(); ++i) {
        const auto f = static_cast<int64_t>(i) % c.stride;
        const bool inside = (f >= 8 && f < 8 + columns) || (f >= 16 + columns && f < 16 + 2 * columns);
        if (!inside) {
          ASSERT_EQ(after[i], before[i]) << "between the slices, column " << f;
          continue;
        }
        gradient.push_back(after[i]);
        expected.push_back(expected_projection[i]);
      }
      expect_backward<T>(gradient, expected);
      EXPECT_TRUE(c.again.same_bits(c.out));
      for (const Guarded<T>* each : {&c.projection, &c.dout, &c.out, &c.again}) ASSERT_TRUE(each->guards_hold());
    }
  }
}

TYPED_TEST(GatedActivation, LargeValuesStayFinite) {
  using T = typename TypeParam::type;
  for (const Activation kind : kKinds) {
    Case<T> c(2, 128, kind, false, 3, 60.0);
    c.forward();
    for (const double x : c.out.doubles()) ASSERT_TRUE(std::isfinite(x));
    c.backward();
    for (const double x : c.projection.doubles()) ASSERT_TRUE(std::isfinite(x));
  }
}

TYPED_TEST(GatedActivation, OutputMayReplaceItsGradientAndOrderDoesNotMatter) {
  using T = typename TypeParam::type;
  Case<T> apart(5, 264, Activation::silu, true, 4), shared(5, 264, Activation::silu, true, 4);
  apart.forward();
  apart.backward();
  emulator::seed() = 9;
  GatedActivationBackward b = shared.backward_arguments();
  b.out = shared.dout.data();
  ASSERT_EQ(launch_gated_activation_backward(b, Activation::silu, ElementOf<T>::value, nullptr), 0);
  emulator::seed() = 1;
  EXPECT_TRUE(shared.projection.same_bits(apart.projection));
  EXPECT_TRUE(shared.dout.same_bits(apart.out));
}

TEST(GatedActivationShapes, OtherKindsWidthsAndStridesAreRefused) {
  Case<float> c(1, 16, Activation::silu, false, 5);
  EXPECT_NE(launch_gated_activation_forward(c.forward_arguments(), Activation::relu, Element::float32, nullptr), 0);
  EXPECT_NE(launch_gated_activation_backward(c.backward_arguments(), Activation::relu, Element::float32, nullptr), 0);
  GatedActivationForward f = c.forward_arguments();
  f.stride = 36;
  EXPECT_NE(launch_gated_activation_forward(f, Activation::silu, Element::float32, nullptr), 0);
  f = c.forward_arguments();
  f.columns = 12;
  EXPECT_NE(launch_gated_activation_forward(f, Activation::silu, Element::float32, nullptr), 0);
  f.rows = 0;
  EXPECT_EQ(launch_gated_activation_forward(f, Activation::silu, Element::float32, nullptr), 0);
  EXPECT_TRUE(std::isnan(c.out[0]));
}

}  // namespace
}  // namespace peft::cuda
