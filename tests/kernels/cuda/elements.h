#pragma once
/// Typed arrays of the element-wise kernels' tests, and how their results are judged.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "src/kernels/cuda/common/rows.cuh"

namespace peft::cuda::row_tests {

template <class T>
struct ElementOf;
template <>
struct ElementOf<float> {
  using type = float;
  static constexpr Element value = Element::float32;
  static constexpr int mantissa = 23, min_exponent = -126;
};
template <>
struct ElementOf<bf16> {
  using type = bf16;
  static constexpr Element value = Element::bfloat16;
  static constexpr int mantissa = 7, min_exponent = -126;
};
template <>
struct ElementOf<half> {
  using type = half;
  static constexpr Element value = Element::float16;
  static constexpr int mantissa = 10, min_exponent = -14;
};
using AllElements = testing::Types<ElementOf<float>, ElementOf<bf16>, ElementOf<half>>;  // _Float16 has no typeid

using Doubles = std::vector<double>;

template <class T>
T element(double x) {
  return from_float<T>(static_cast<float>(x));
}

/// An array between canaries; outputs start as NaN.
template <class T>
class Guarded {
 public:
  explicit Guarded(std::size_t count, double value = std::numeric_limits<double>::quiet_NaN())
      : all_(count + 2 * kGuard, element<T>(-77.0)) {
    std::fill(all_.begin() + kGuard, all_.end() - kGuard, element<T>(value));
  }
  explicit Guarded(const Doubles& values) : Guarded(values.size()) {
    for (std::size_t i = 0; i < values.size(); ++i) (*this)[i] = element<T>(values[i]);
  }
  std::size_t size() const { return all_.size() - 2 * kGuard; }
  T* data() { return all_.data() + kGuard; }
  const T* data() const { return all_.data() + kGuard; }
  T& operator[](std::size_t i) { return data()[i]; }
  const T& operator[](std::size_t i) const { return data()[i]; }
  Doubles doubles() const {
    Doubles values(size());
    for (std::size_t i = 0; i < size(); ++i) values[i] = static_cast<double>(to_float((*this)[i]));
    return values;
  }
  bool guards_hold() const {
    const auto holds = [](T x) { return to_float(x) == -77.0F; };
    return std::all_of(all_.begin(), all_.begin() + kGuard, holds) &&
           std::all_of(all_.end() - kGuard, all_.end(), holds);
  }
  bool same_bits(const Guarded& other) const {
    return size() == other.size() && std::memcmp(data(), other.data(), size() * sizeof(T)) == 0;
  }

 private:
  static constexpr std::ptrdiff_t kGuard = 64;
  std::vector<T> all_;
};

/// Normal numbers, none of them zero.
template <class T>
Guarded<T> random_elements(std::size_t count, std::mt19937_64& random, double deviation = 1.0, double mean = 0.0) {
  std::normal_distribution<double> normal(mean, deviation);
  Guarded<T> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    do {
      values[i] = element<T>(normal(random));
    } while (to_float(values[i]) == 0.0F);
  }
  return values;
}

inline double relative_l2(const Doubles& actual, const Doubles& expected) {
  double error = 0.0, norm = 0.0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    error += std::pow(actual[i] - expected[i], 2);
    norm += std::pow(expected[i], 2);
  }
  return norm == 0.0 ? std::sqrt(error) : std::sqrt(error / norm);
}

/// Rounding of float32 terms of a few units that cancel: what is left of them may be smaller than this.
inline constexpr double kCancellation = 5e-7;

/// Distance in units of the last place of T at the expected value, beyond the rounding of float32.
template <class T>
double ulps(double actual, double expected) {
  const int exponent = expected == 0.0 ? ElementOf<T>::min_exponent
                                       : std::max(std::ilogb(expected), static_cast<int>(ElementOf<T>::min_exponent));
  return std::max(0.0, std::abs(actual - expected) - kCancellation) /
         std::ldexp(1.0, exponent - ElementOf<T>::mantissa);
}

/// The tolerance of element-wise outputs: 16-bit types within 1 ulp on more than 99.9 % of elements and 2 on all, float32 relative L2.
template <class T>
void expect_forward(const Doubles& actual, const Doubles& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  if (sizeof(T) == 4) {
    EXPECT_LE(relative_l2(actual, expected), 1e-6);
    return;
  }
  std::size_t beyond_one = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double distance = ulps<T>(actual[i], expected[i]);
    ASSERT_LE(distance, 2.0) << "element " << i << ": " << actual[i] << ", expected " << expected[i];
    beyond_one += distance > 1.0;
  }
  EXPECT_LE(static_cast<double>(beyond_one), 1e-3 * static_cast<double>(expected.size()));
}

template <class T>
void expect_backward(const Doubles& actual, const Doubles& expected, double float_tolerance = 2e-6) {
  ASSERT_EQ(actual.size(), expected.size());
  EXPECT_LE(relative_l2(actual, expected), sizeof(T) == 4 ? float_tolerance : 3e-3);
}

}  // namespace peft::cuda::row_tests
