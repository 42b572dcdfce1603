#pragma once
/// What the kernels of prefix_attention share: the keys of a group, tiles of scores, and probabilities as operands.

#include "src/kernels/cuda/common/merge.cuh"
#include "src/kernels/cuda/prefix_attention/api.h"

namespace peft::cuda {

constexpr int kPrefixTile = 64;  ///< keys

/// One key/value head of one group.
template <class T>
struct PrefixHead {
  const T *k, *v;
  int64_t stride;
  int length;
};
template <class T>
__device__ __forceinline__ PrefixHead<T> prefix_head(const PrefixShape& shape, const PrefixKeys& keys, int group,
                                                     int head) {
  const int64_t stride = static_cast<int64_t>(shape.key_heads) * shape.width;
  const int64_t first = static_cast<int64_t>(group) * shape.prefix * stride +
                        static_cast<int64_t>(head / (shape.heads / shape.key_heads)) * shape.width;
  return {static_cast<const T*>(keys.k) + first, static_cast<const T*>(keys.v) + first, stride,
          keys.length == nullptr ? shape.prefix : keys.length[group]};
}
/// A row's prefix length, 0 where it has none.
__device__ __forceinline__ int prefix_length(const PrefixShape& shape, const PrefixKeys& keys, int group) {
  if (group < 0) return 0;
  return keys.length == nullptr ? shape.prefix : keys.length[group];
}

/// Begins to copy keys and values of tile `tile`: K, then V.
template <int kWidth, int kThreads, class T>
__device__ __forceinline__ void copy_keys(T* to, const PrefixHead<T>& head, int tile) {
  const int first = tile * kPrefixTile;
  copy_tile<kPrefixTile, kWidth, kThreads>(to, head.k + first * head.stride, head.stride, head.length - first);
  copy_tile<kPrefixTile, kWidth, kThreads>(to + tile_values(kPrefixTile, kWidth), head.v + first * head.stride,
                                           head.stride, head.length - first);
}

/// c += A B^T: 16 rows of `a` from `row` on, against 8 kColumns rows of `b`.
template <int kWidth, int kColumns, class T>
__device__ __forceinline__ void multiply_rows(float (&c)[kColumns][4], const T* a, int row, const T* b, int lane) {
  static_assert(kColumns % 2 == 0);
  PEFT_UNROLL
  for (int k = 0; k < kWidth; k += 16) {
    uint32_t x[4];
    load_a<kWidth>(x, a, row, k, lane);
    PEFT_UNROLL
    for (int j = 0; j < kColumns; j += 2) {
      uint32_t y[4];
      load_b<kWidth>(y, b, 8 * j, k, lane);
      multiply<T>(c[j], x, y[0], y[1]);
      multiply<T>(c[j + 1], x, y[2], y[3]);
    }
  }
}

/// c += P B: 16 rows of results, rounded to T, against as many rows of `b` as they have columns.
template <int kWidth, int kColumns, class T>
__device__ __forceinline__ void multiply_results(float (&c)[kWidth / 8][4], const float (&p)[kColumns][4], const T* b,
                                                 int lane) {
  PEFT_UNROLL
  for (int k = 0; k < kColumns; k += 2) {
    const uint32_t x[4] = {pack_floats<T>(p[k][0], p[k][1]), pack_floats<T>(p[k][2], p[k][3]),
                           pack_floats<T>(p[k + 1][0], p[k + 1][1]), pack_floats<T>(p[k + 1][2], p[k + 1][3])};
    PEFT_UNROLL
    for (int j = 0; j < kWidth / 8; j += 2) {
      uint32_t y[4];
      load_b_transposed<kWidth>(y, b, 8 * k, 8 * j, lane);
      multiply<T>(c[j], x, y[0], y[1]);
      multiply<T>(c[j + 1], x, y[2], y[3]);
    }
  }
}

}  // namespace peft::cuda
