#pragma once
/// The feature maps of ntk_attention, on operands of `multiply`.

#include "src/kernels/cuda/common/tile.cuh"
#include "src/kernels/cuda/ntk_attention/api.h"

namespace peft::cuda {

constexpr float kNtkLargest = 80.0F;  ///< of c - L, so that g and sums of it are finite

/// phi of one number, but for taylor1's constant. Never expm1: it loses small values.
template <StateMap kMap>
__device__ __forceinline__ float feature_of(float y) {
  if (kMap == StateMap::taylor1) return y;
  return y > 0.0F ? y + 1.0F : __expf(y);
}
template <StateMap kMap>
__device__ __forceinline__ float feature_slope(float y) {
  return kMap == StateMap::taylor1 || y > 0.0F ? 1.0F : __expf(y);
}

/// phi of a pair of queries.
template <StateMap kMap, class T>
__device__ __forceinline__ uint32_t feature_pair(uint32_t q, float root) {
  const float2 x = unpack<T>(q);
  return pack_floats<T>(feature_of<kMap>(x.x * root), feature_of<kMap>(x.y * root));
}

/// Rows g and g + 8 of a 16x16 operand of queries against 16 columns of the center: this lane's share.
template <class T>
__device__ __forceinline__ void add_center(float (&sum)[2], const uint32_t (&q)[4], const float* center, int lane) {
  const auto* pairs = reinterpret_cast<const float2*>(center) + lane % 4;
  PEFT_UNROLL
  for (int i = 0; i < 4; ++i) {
    const float2 x = unpack<T>(q[i]), c = pairs[4 * (i / 2)];
    sum[i % 2] += x.x * c.x + x.y * c.y;
  }
}

/// Whether a row's state is switched off.
template <StateMap kMap>
__device__ __forceinline__ bool switched_off(float b) {
  return kMap == StateMap::taylor1 && b <= 0.0F;
}

/// log g, -inf where g is 0. NaN stays NaN.
__device__ __forceinline__ float log_row_scale(bool off, float shift, float lse) {
  if (off || fabsf(lse) == INFINITY) return -INFINITY;
  const float x = shift - lse;
  return x > kNtkLargest ? kNtkLargest : x;
}

}  // namespace peft::cuda
