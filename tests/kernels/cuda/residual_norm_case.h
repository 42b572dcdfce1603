#pragma once
/// residual_norm in double precision, and random cases of it.

#include <optional>

#include "src/kernels/cuda/residual_norm/backward.cuh"
#include "src/kernels/cuda/residual_norm/forward.cuh"
#include "src/kernels/cuda/residual_norm/launch.cuh"
#include "tests/kernels/cuda/elements.h"
#include "tests/kernels/cuda/masks.h"

namespace peft::cuda::row_tests {

struct NormOptions {
  NormKind kind = NormKind::layer_norm;
  bool branch = true, bias = true, gamma = true, beta = true, dropout = false, residual_gradient = false;
  double deviation = 1.0, mean = 0.0;
  float eps = 1e-5F;
};

struct DoubleNorm {
  Doubles xhat, y;
  double mean = 0.0, rstd = 0.0;
};

/// One row. Empty gamma, beta: ones, zeros.
inline DoubleNorm double_norm(const double* s, std::size_t columns, NormKind kind, double eps, const Doubles& gamma,
                              const Doubles& beta) {
  DoubleNorm result;
  const auto count = static_cast<double>(columns);
  if (kind == NormKind::layer_norm) {
    for (std::size_t c = 0; c < columns; ++c) result.mean += s[c] / count;
  }
  double variance = 0.0;
  for (std::size_t c = 0; c < columns; ++c) variance += std::pow(s[c] - result.mean, 2) / count;
  result.rstd = 1.0 / std::sqrt(variance + eps);
  for (std::size_t c = 0; c < columns; ++c) {
    result.xhat.push_back((s[c] - result.mean) * result.rstd);
    result.y.push_back(result.xhat[c] * (gamma.empty() ? 1.0 : gamma[c]) + (beta.empty() ? 0.0 : beta[c]));
  }
  return result;
}

/// Gradient of the row s under dy, column by column of the Jacobian: dxhat_c/ds_e = rstd (d_ce - 1/C - xhat_c xhat_e / C).
inline Doubles double_norm_gradient(const DoubleNorm& norm, const double* dy, NormKind kind, const Doubles& gamma) {
  const std::size_t columns = norm.xhat.size();
  const auto count = static_cast<double>(columns);
  Doubles gradient(columns);
  double sum = 0.0, product = 0.0;
  for (std::size_t c = 0; c < columns; ++c) {
    const double g = dy[c] * (gamma.empty() ? 1.0 : gamma[c]);
    sum += kind == NormKind::layer_norm ? g : 0.0;
    product += g * norm.xhat[c];
  }
  for (std::size_t e = 0; e < columns; ++e)
    gradient[e] = norm.rstd * (dy[e] * (gamma.empty() ? 1.0 : gamma[e]) - sum / count - norm.xhat[e] * product / count);
  return gradient;
}

template <class T>
struct NormCase {
  int64_t rows;
  int32_t columns;
  NormOptions options;
  std::mt19937_64 random;
  Guarded<T> x, branch, bias, gamma, beta, dy, dresidual, sum, y, dx, dbranch;
  Guarded<float> mean, rstd;
  Masks masks;

  NormCase(int64_t row_count, int32_t column_count, NormOptions how, uint64_t seed)
      : rows(row_count),
        columns(column_count),
        options(how),
        random(seed),
        x(values(how.deviation, how.mean)),
        branch(values(how.deviation)),
        bias(row_values(1.0)),
        gamma(row_values(0.3, 1.0)),
        beta(row_values(0.5)),
        dy(values(1.0)),
        dresidual(values(1.0)),
        sum(x.size()),
        y(x.size()),
        dx(x.size()),
        dbranch(x.size()),
        mean(static_cast<std::size_t>(row_count)),
        rstd(static_cast<std::size_t>(row_count)),
        masks(row_count, random) {}

  FrozenNorm norm() const {
    return {options.kind, options.eps, options.gamma ? gamma.data() : nullptr, options.beta ? beta.data() : nullptr};
  }
  ResidualNormForward forward_arguments() {
    return {.x = x.data(),
            .branch = options.branch ? branch.data() : nullptr,
            .bias = options.bias ? bias.data() : nullptr,
            .sum = sum.data(),
            .y = y.data(),
            .mean = mean.data(),
            .rstd = rstd.data(),
            .rows = rows,
            .columns = columns,
            .norm = norm(),
            .dropout = options.dropout ? masks.arguments() : NamedDropout{}};
  }
  ResidualNormBackward backward_arguments() {
    return {.dy = dy.data(),
            .sum = sum.data(),
            .mean = mean.data(),
            .rstd = rstd.data(),
            .dresidual = options.residual_gradient ? dresidual.data() : nullptr,
            .dx = dx.data(),
            .dbranch = options.dropout ? dbranch.data() : nullptr,
            .rows = rows,
            .columns = columns,
            .norm = norm(),
            .dropout = options.dropout ? masks.arguments() : NamedDropout{}};
  }
  void forward() { ASSERT_EQ(launch_residual_norm_forward(forward_arguments(), ElementOf<T>::value, nullptr), 0); }
  void backward() { ASSERT_EQ(launch_residual_norm_backward(backward_arguments(), ElementOf<T>::value, nullptr), 0); }

  Doubles expected_sum() const {
    Doubles s = x.doubles();
    for (std::size_t i = 0; options.branch && i < s.size(); ++i) {
      const std::size_t row = i / width(), c = i % width();
      const double added = element_of(branch, i) + (options.bias ? element_of(bias, c) : 0.0);
      s[i] += added * (options.dropout ? masks.multiplier(static_cast<int64_t>(row), static_cast<int64_t>(c)) : 1.0);
    }
    return s;
  }
  DoubleNorm expected_norm(const Doubles& s, int64_t row) const {
    return double_norm(s.data() + row * columns, width(), options.kind, static_cast<double>(options.eps),
                       options.gamma ? gamma.doubles() : Doubles{}, options.beta ? beta.doubles() : Doubles{});
  }
  /// Gradient of s.
  Doubles expected_gradient() const {
    const Doubles s = sum.doubles(), g = dy.doubles();
    Doubles all;
    for (int64_t row = 0; row < rows; ++row) {
      Doubles one = double_norm_gradient(expected_norm(s, row), g.data() + row * columns, options.kind,
                                         options.gamma ? gamma.doubles() : Doubles{});
      for (std::size_t c = 0; options.residual_gradient && c < width(); ++c)
        one[c] += element_of(dresidual, static_cast<std::size_t>(row) * width() + c);
      all.insert(all.end(), one.begin(), one.end());
    }
    return all;
  }
  std::size_t width() const { return static_cast<std::size_t>(columns); }
  static double element_of(const Guarded<T>& values, std::size_t i) { return static_cast<double>(to_float(values[i])); }

 private:
  Guarded<T> values(double deviation, double mean_value = 0.0) {
    return random_elements<T>(static_cast<std::size_t>(rows) * width(), random, deviation, mean_value);
  }
  Guarded<T> row_values(double deviation, double mean_value = 0.0) {
    return random_elements<T>(width(), random, deviation, mean_value);
  }
};

}  // namespace peft::cuda::row_tests
