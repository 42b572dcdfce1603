#pragma once
/// The portable stream n(seed): normals that any language reproduces from a few lines.

#include <ATen/ATen.h>

#include <cmath>
#include <cstdint>
#include <numbers>

namespace peft {

class PortableStream {
 public:
  explicit PortableStream(uint64_t seed) : state_(seed) {}

  uint64_t word() {  // splitmix64
    uint64_t z = state_ += 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
  }
  double uniform() { return (static_cast<double>(word() >> 11) + 0.5) * 0x1p-53; }

  /// The next normals in row-major order, float64. Pairs come from two uniforms; an odd count leaves the last one of its pair unused.
  at::Tensor normal(at::IntArrayRef shape) {
    at::Tensor values = at::empty(shape, at::kDouble);
    auto* out = values.data_ptr<double>();
    for (int64_t i = 0; i < values.numel(); i += 2) {
      const double radius = std::sqrt(-2.0 * std::log(uniform())), angle = 2.0 * std::numbers::pi * uniform();
      out[i] = radius * std::cos(angle);
      if (i + 1 < values.numel()) out[i + 1] = radius * std::sin(angle);
    }
    return values;
  }

 private:
  uint64_t state_;
};

}  // namespace peft
