#pragma once
/// Arguments of attention kernels in host memory: strided, poisoned and between canaries.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <type_traits>
#include <vector>

#include "src/kernels/cuda/common/tile.cuh"

namespace peft::cuda {

template <class T>
constexpr Element tile_type() {
  return std::is_same_v<T, bf16> ? Element::bfloat16 : Element::float16;
}

/// A [T,H,D] argument whose rows are a slice of wider ones. What is not the slice holds a canary, so does what is behind it.
template <class T>
struct Slice {
  static constexpr uint16_t kCanary = 0x1234;
  int rows, heads, width, row_stride, head_stride;
  std::vector<uint4> memory;  // 16-byte aligned

  Slice(int t, int h, int d)
      : rows(t), heads(h), width(d), row_stride(h * (d + 8) + 16), head_stride(d + 8), memory(bytes() / 16) {
    for (std::size_t i = 0; i < bytes() / 2; ++i) bits()[i] = kCanary;
    const auto poison = from_float<T>(std::numeric_limits<float>::quiet_NaN());
    each([&](int r, int head, int c) { at(r, head, c) = poison; });
  }
  T& at(int r, int h, int c) {
    return reinterpret_cast<T*>(memory.data())[offset() + r * row_stride + h * head_stride + c];
  }
  HeadRows view() { return {rows == 0 ? reinterpret_cast<T*>(memory.data()) : &at(0, 0, 0), row_stride, head_stride}; }
  template <class F>
  void each(const F& f) {
    for (int r = 0; r < rows; ++r) {
      for (int h = 0; h < heads; ++h) {
        for (int c = 0; c < width; ++c) f(r, h, c);
      }
    }
  }
  bool canaries_live() {
    Slice copy = *this;
    copy.each([&](int r, int h, int c) { std::memcpy(&copy.at(r, h, c), &kCanary, 2); });
    for (std::size_t i = 0; i < bytes() / 2; ++i) {
      if (copy.bits()[i] != kCanary) return false;
    }
    return true;
  }
  double value(int r, int h, int c) { return static_cast<double>(to_float(at(r, h, c))); }

 private:
  std::size_t offset() const { return static_cast<std::size_t>(row_stride) + 8; }  // a row of canaries on both sides
  std::size_t bytes() const { return 2 * static_cast<std::size_t>(rows + 2) * row_stride / 16 * 16; }
  uint16_t* bits() { return reinterpret_cast<uint16_t*>(memory.data()); }
};

/// Floats between canaries, poisoned.
struct Floats {
  static constexpr float kCanary = -7.5F;
  std::vector<float4> memory;
  std::size_t count;
  explicit Floats(std::size_t n) : memory(n / 4 + 3, float4{kCanary, kCanary, kCanary, kCanary}), count(n) {
    for (std::size_t i = 0; i < n; ++i) (*this)[i] = std::numeric_limits<float>::quiet_NaN();
  }
  float* data() { return &memory[1].x; }
  float& operator[](std::size_t i) { return data()[i]; }
  bool canaries_live() {
    for (std::size_t i = 0; i < 4; ++i) {
      if (data()[count + i] != kCanary || data()[static_cast<std::ptrdiff_t>(i) - 4] != kCanary) return false;
    }
    return true;
  }
};

template <class T>
void fill_slice(Slice<T>& slice, const std::vector<double>& x) {
  std::size_t i = 0;
  slice.each([&](int r, int h, int c) { slice.at(r, h, c) = from_float<T>(static_cast<float>(x[i++])); });
}
/// `x` in T, 16-byte aligned.
template <class T>
std::vector<uint4> packed_values(const std::vector<double>& x) {
  std::vector<uint4> result(x.size() / 8 + 1);
  for (std::size_t i = 0; i < x.size(); ++i)
    reinterpret_cast<T*>(result.data())[i] = from_float<T>(static_cast<float>(x[i]));
  return result;
}
template <class T>
std::vector<double> values(Slice<T>& x) {
  std::vector<double> result;
  x.each([&](int r, int h, int c) { result.push_back(x.value(r, h, c)); });
  return result;
}
inline std::vector<double> values(Floats& x) { return {x.data(), x.data() + x.count}; }
template <class T>
std::vector<T> elements(Slice<T>& x) {
  std::vector<T> result;
  x.each([&](int r, int h, int c) { result.push_back(x.at(r, h, c)); });
  return result;
}
template <class T>
bool same_bits(const std::vector<T>& x, const std::vector<T>& y) {
  return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(T)) == 0;
}

inline double relative_l2(const std::vector<double>& found, const std::vector<double>& expected) {
  double error = 0.0, size = 0.0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    error += std::pow(found[i] - expected[i], 2);
    size += expected[i] * expected[i];
  }
  return size > 0.0 ? std::sqrt(error / size) : std::sqrt(error);  // a NaN comes through
}

/// |found - expected| <= cap |expected|, and float's rounding of sums whose terms are queries of this amplitude.
inline void expect_within(const std::vector<double>& found, const std::vector<double>& expected, double cap,
                          double amplitude, const char* name) {
  ASSERT_EQ(found.size(), expected.size());
  const double norm = std::sqrt(std::inner_product(expected.begin(), expected.end(), expected.begin(), 0.0)),
               relative = relative_l2(found, expected),
               rounding = 1e-7 * amplitude * std::sqrt(static_cast<double>(found.size()));
  EXPECT_LE(relative * (norm > 0.0 ? norm : 1.0), cap * norm + rounding) << name << ", relative " << relative;
}

/// Random inputs in double, rounded to T.
template <class T>
class RoundedNormals {
 public:
  explicit RoundedNormals(uint64_t seed) : random_(seed) {}
  std::vector<double> operator()(std::size_t count, double size = 1.0, double mean = 0.0) {
    std::vector<double> x(count);
    for (double& value : x) value = rounded(mean + size * normal_(random_));
    return x;
  }
  static double rounded(double x) { return static_cast<double>(to_float(from_float<T>(static_cast<float>(x)))); }

 private:
  std::mt19937_64 random_;
  std::normal_distribution<double> normal_;
};

/// `gradient` is what differences of `loss`, which reads x, say.
template <class Loss>
void expect_differences(const Loss& loss, std::vector<double>& x, const std::vector<double>& gradient) {
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double value = x[i], step = 1e-6;
    x[i] = value + step;
    const double above = loss();
    x[i] = value - step;
    const double below = loss();
    x[i] = value;
    ASSERT_NEAR((above - below) / (2 * step), gradient[i], 1e-7 * std::max(1.0, std::abs(gradient[i]))) << i;
  }
}

}  // namespace peft::cuda
