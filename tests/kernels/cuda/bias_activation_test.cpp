/// bias_activation on the emulator, against double precision.

#include "src/kernels/cuda/bias_activation/kernels.cuh"
#include "src/kernels/cuda/bias_activation/launch.cuh"
#include "tests/kernels/cuda/activation_double.h"
#include "tests/kernels/cuda/elements.h"
#include "tests/kernels/cuda/masks.h"

namespace peft::cuda {
namespace {

using namespace row_tests;

constexpr Activation kKinds[] = {Activation::gelu, Activation::gelu_tanh, Activation::relu, Activation::silu};

template <class T>
struct Case {
  int64_t rows;
  int32_t columns;
  Activation kind;
  bool with_bias, dropout;
  std::mt19937_64 random;
  Guarded<T> x, bias, dy, y, dx, again;
  Masks masks;

  Case(int64_t row_count, int32_t column_count, Activation which, bool biased, bool drop, uint64_t seed,
       double deviation = 1.0)
      : rows(row_count),
        columns(column_count),
        kind(which),
        with_bias(biased),
        dropout(drop),
        random(seed),
        x(random_elements<T>(static_cast<std::size_t>(row_count * column_count), random, deviation)),
        bias(random_elements<T>(static_cast<std::size_t>(column_count), random, 0.5)),
        dy(random_elements<T>(x.size(), random)),
        y(x.size()),
        dx(x.size()),
        again(x.size()),
        masks(row_count, random) {}

  NamedDropout names() const { return dropout ? masks.arguments() : NamedDropout{}; }
  BiasActivationForward forward_arguments() {
    return {x.data(), with_bias ? bias.data() : nullptr, y.data(), rows, columns, names()};
  }
  BiasActivationBackward backward_arguments() {
    return {dy.data(), x.data(), with_bias ? bias.data() : nullptr, dx.data(), again.data(), rows, columns, names()};
  }
  void forward() {
    ASSERT_EQ(launch_bias_activation_forward(forward_arguments(), kind, ElementOf<T>::value, nullptr), 0);
  }
  void backward() {
    ASSERT_EQ(launch_bias_activation_backward(backward_arguments(), kind, ElementOf<T>::value, nullptr), 0);
  }
};

template <class T>
class BiasActivation : public testing::Test {};
TYPED_TEST_SUITE(BiasActivation, AllElements);

TYPED_TEST(BiasActivation, EqualsDoubleForwardAndBackward) {
  using T = typename TypeParam::type;
  for (const Activation kind : kKinds) {
    for (const auto& [rows, columns] : {std::pair{5, 8}, {4, 1024}, {3, 1160}, {1, 3072}}) {
      const uint64_t seed = static_cast<uint64_t>(columns) / 8 + static_cast<uint64_t>(kind);
      SCOPED_TRACE("columns " + std::to_string(columns) + ", seed " + std::to_string(seed));
      Case<T> c(rows, columns, kind, seed % 3 != 0, seed % 2 == 0, seed, columns == 8 ? 3.0 : 1.0);
      const Doubles x = c.x.doubles(), bias = c.bias.doubles(), dy = c.dy.doubles();
      Doubles y, dx;
      for (std::size_t i = 0; i < x.size(); ++i) {
        const std::size_t f = i % static_cast<std::size_t>(columns), row = i / static_cast<std::size_t>(columns);
        const double keep = c.dropout ? c.masks.multiplier(static_cast<int64_t>(row), static_cast<int64_t>(f)) : 1.0;
        const Double act = activate_double(kind, x[i] + (c.with_bias ? bias[f] : 0.0));
        y.push_back(keep * act.value);
        dx.push_back(keep * dy[i] * act.slope);
      }
      c.forward();
      expect_forward<T>(c.y.doubles(), y);
      c.backward();
      expect_backward<T>(c.dx.doubles(), dx);
      EXPECT_TRUE(c.again.same_bits(c.y));
      for (const Guarded<T>* each : {&c.x, &c.dy, &c.y, &c.dx, &c.again}) ASSERT_TRUE(each->guards_hold());
    }
  }
}

TYPED_TEST(BiasActivation, InPlaceEqualsApartInAnyOrder) {
  using T = typename TypeParam::type;
  for (const uint64_t order : {1, 2, 3}) {
    emulator::seed() = order;
    Case<T> apart(5, 1032, Activation::gelu, true, true, 6), shared(5, 1032, Activation::gelu, true, true, 6);
    apart.forward();
    apart.backward();
    BiasActivationBackward b = shared.backward_arguments();
    b.dx = shared.dy.data();
    b.y = shared.x.data();
    ASSERT_EQ(launch_bias_activation_backward(b, Activation::gelu, ElementOf<T>::value, nullptr), 0);
    EXPECT_TRUE(shared.dy.same_bits(apart.dx));
    EXPECT_TRUE(shared.x.same_bits(apart.y));
  }
  emulator::seed() = 1;
}

TEST(BiasActivationShapes, OtherWidthsAreRefusedAndEmptyBatchesAreFine) {
  Case<float> c(1, 16, Activation::relu, false, false, 5);
  BiasActivationForward f = c.forward_arguments();
  BiasActivationBackward b = c.backward_arguments();
  f.columns = b.columns = 12;
  EXPECT_NE(launch_bias_activation_forward(f, Activation::relu, Element::float32, nullptr), 0);
  EXPECT_NE(launch_bias_activation_backward(b, Activation::relu, Element::float32, nullptr), 0);
  f.rows = b.rows = 0;
  EXPECT_EQ(launch_bias_activation_forward(f, Activation::relu, Element::float32, nullptr), 0);
  EXPECT_EQ(launch_bias_activation_backward(b, Activation::relu, Element::float32, nullptr), 0);
  EXPECT_TRUE(std::isnan(c.y[0]));
}

}  // namespace
}  // namespace peft::cuda
