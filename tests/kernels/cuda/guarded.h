#pragma once
/// Host memory for kernels under test: matrices between canaries, random values, errors against double precision.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "src/kernels/cuda/common/device.cuh"
#include "src/kernels/cuda/common/element.h"

namespace peft::cuda::matrix_tests {

template <class T>
constexpr Element kElement = sizeof(T) == 4            ? Element::float32
                             : std::is_same_v<T, bf16> ? Element::bfloat16
                                                       : Element::float16;

/// For typed tests: _Float16 itself has no type information in g++ 12.
template <class T>
struct ElementOf {
  using Type = T;
};
using ElementTypes = testing::Types<ElementOf<bf16>, ElementOf<half>, ElementOf<float>>;

/// A matrix whose rows lie `stride` apart, as a slice of something wider. Everything that is not the matrix is a canary; the matrix starts
/// as NaN. 16-byte aligned when the stride is a multiple of 16 bytes.
template <class T>
class Guarded {
 public:
  Guarded(int64_t rows, int64_t columns, int64_t stride)
      : rows_(rows), columns_(columns), stride_(stride), values_((rows + 2) * stride, from_float<T>(kCanary)) {
    fill([] { return std::numeric_limits<float>::quiet_NaN(); });
  }
  Guarded(int64_t rows, int64_t columns) : Guarded(rows, columns, (columns + 15) / 8 * 8) {}

  template <class Next>
  void fill(const Next& next) {
    for (int64_t i = 0; i < rows_; ++i) {
      for (int64_t j = 0; j < columns_; ++j) (*this)(i, j) = from_float<T>(static_cast<float>(next()));
    }
  }
  void fill_normal(std::mt19937_64& random, double deviation = 1.0) {
    std::normal_distribution<double> normal(0.0, deviation);
    fill([&] { return normal(random); });
  }

  T* data() { return values_.data() + stride_; }
  const T* data() const { return values_.data() + stride_; }
  T* row(int64_t i) { return data() + i * stride_; }
  const T* row(int64_t i) const { return data() + i * stride_; }
  T& operator()(int64_t i, int64_t j) { return row(i)[j]; }
  double value(int64_t i, int64_t j) const { return static_cast<double>(to_float(row(i)[j])); }
  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }
  int64_t stride() const { return stride_; }

  /// The first value outside the matrix that changed, from the start of the memory; -1 if there is none.
  int64_t broken_canary() const {
    for (std::size_t i = 0; i < values_.size(); ++i) {
      const auto at = static_cast<int64_t>(i) - stride_;
      const bool inside = at >= 0 && at < rows_ * stride_ && at % stride_ < columns_;
      if (!inside && to_float(values_[i]) != kCanary) return static_cast<int64_t>(i);
    }
    return -1;
  }
  bool same_bits(const Guarded& other) const {
    for (int64_t i = 0; i < rows_; ++i) {
      if (std::memcmp(row(i), other.row(i), columns_ * sizeof(T)) != 0) return false;
    }
    return true;
  }

 private:
  static constexpr float kCanary = -77.0F;
  int64_t rows_, columns_, stride_;
  std::vector<T> values_;
};

/// |a - b| / |b| in the Euclidean norm; NaN if any number is one.
class RelativeError {
 public:
  void add(double found, double expected) {
    difference_ += (found - expected) * (found - expected);
    norm_ += expected * expected;
  }
  double value() const { return norm_ > 0.0 ? std::sqrt(difference_ / norm_) : std::sqrt(difference_); }

 private:
  double difference_ = 0.0, norm_ = 0.0;
};

inline bool is_nan(double x) { return x != x; }

}  // namespace peft::cuda::matrix_tests
