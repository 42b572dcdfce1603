#pragma once
/// Activations and their slopes in double precision.

#include <algorithm>
#include <cmath>
#include <numbers>

#include "src/kernels/cuda/common/rowmath.h"

namespace peft::cuda::row_tests {

struct Double {
  double value, slope;
};

inline Double gelu_double(double x) {
  const double p = 0.5 * std::erfc(-x / std::numbers::sqrt2);
  return {x * p, p + x * std::exp(-0.5 * x * x) / std::sqrt(2.0 * std::numbers::pi)};
}
inline Double gelu_tanh_double(double x) {
  const double c = std::sqrt(2.0 / std::numbers::pi), u = c * (x + 0.044715 * x * x * x), t = std::tanh(u);
  // 1 + tanh u without cancellation
  const double half_sum = 1.0 / (1.0 + std::exp(-2.0 * u));
  return {x * half_sum, half_sum + 0.5 * x * (1.0 - t * t) * c * (1.0 + 3.0 * 0.044715 * x * x)};
}
inline Double silu_double(double x) {
  const double s = 1.0 / (1.0 + std::exp(-x));
  return {x * s, s + x * s * (1.0 - s)};
}
inline Double relu_double(double x) { return {std::max(x, 0.0), x > 0.0 ? 1.0 : 0.0}; }

inline Double activate_double(Activation kind, double x) {
  switch (kind) {
    case Activation::gelu:
      return gelu_double(x);
    case Activation::gelu_tanh:
      return gelu_tanh_double(x);
    case Activation::relu:
      return relu_double(x);
    case Activation::silu:
      return silu_double(x);
  }
  return {};
}

}  // namespace peft::cuda::row_tests
