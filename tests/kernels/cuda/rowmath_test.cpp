/// Scalar mathematics in float against double.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "src/kernels/cuda/common/rowmath.h"
#include "tests/kernels/cuda/activation_double.h"

namespace peft::cuda {
namespace {

using namespace row_tests;

/// Values to a relative error, slopes (which cross zero) to an absolute one.
void compare(ValueAndSlope (*f)(float), Double (*reference)(double), double relative, double absolute) {
  for (int i = -120000; i <= 120000; ++i) {
    const float x = static_cast<float>(i) * 1e-4F;
    const ValueAndSlope y = f(x);
    const Double expected = reference(static_cast<double>(x));
    ASSERT_NEAR(y.value, expected.value, relative * std::abs(expected.value) + 1e-37) << x;
    ASSERT_NEAR(y.slope, expected.slope, absolute) << x;
  }
}

TEST(RowMath, GeluKeepsItsRelativePrecisionInTheTail) { compare(gelu, gelu_double, 8e-6, 1e-6); }
TEST(RowMath, GeluNearZeroIsWithinAFewUnitsInTheLastPlace) {
  for (int i = -40000; i <= 40000; ++i) {
    const float x = static_cast<float>(i) * 1e-4F;
    const double expected = gelu_double(static_cast<double>(x)).value;
    ASSERT_NEAR(gelu(x).value, expected, 1e-6 * std::abs(expected)) << x;
  }
}
TEST(RowMath, GeluTanhEqualsItsFormulaInDouble) { compare(gelu_tanh, gelu_tanh_double, 2e-5, 1e-6); }
TEST(RowMath, SiluEqualsItsFormulaInDouble) { compare(silu, silu_double, 2e-6, 1e-6); }
TEST(RowMath, ReluEqualsItsFormulaInDouble) { compare(relu, relu_double, 0.0, 0.0); }

TEST(RowMath, FarArgumentsReachTheirLimits) {
  for (ValueAndSlope (*f)(float) : {gelu, gelu_tanh, silu, relu}) {
    for (const float x : {40.0F, 200.0F, 1e4F}) {
      EXPECT_EQ(f(x).value, x);
      EXPECT_EQ(f(x).slope, 1.0F);
      EXPECT_NEAR(f(-x).value, 0.0F, 1e-15F);
      EXPECT_NEAR(f(-x).slope, 0.0F, 1e-15F);
    }
    EXPECT_TRUE(std::isnan(f(std::numeric_limits<float>::quiet_NaN()).value));
    EXPECT_EQ(f(0.0F).value, 0.0F);
  }
}

TEST(RowMath, SlopesAreTheValuesDerivatives) {
  constexpr double h = 1e-5;
  for (Double (*f)(double) : {gelu_double, gelu_tanh_double, silu_double}) {
    for (double x = -6.0; x <= 6.0; x += 0.37)
      EXPECT_NEAR(f(x).slope, (f(x + h).value - f(x - h).value) / (2.0 * h), 1e-9);
  }
}

TEST(RowMath, ActivateNamesTheFunctions) {
  EXPECT_EQ(activate<Activation::gelu>(0.7F).value, gelu(0.7F).value);
  EXPECT_EQ(activate<Activation::gelu_tanh>(0.7F).value, gelu_tanh(0.7F).value);
  EXPECT_EQ(activate<Activation::relu>(0.7F).value, relu(0.7F).value);
  EXPECT_EQ(activate<Activation::silu>(0.7F).value, silu(0.7F).value);
}

}  // namespace
}  // namespace peft::cuda
