#pragma once
/// What the kernels of prefix_attention share: the keys of a group.

#include "src/kernels/cuda/common/attention.cuh"
#include "src/kernels/cuda/prefix_attention/api.h"

namespace peft::cuda {

/// A row's prefix length, 0 where it has none.
__device__ __forceinline__ int prefix_length(const PrefixShape& shape, const PrefixKeys& keys, int group) {
  if (group < 0) return 0;
  return keys.length == nullptr ? shape.prefix : keys.length[group];
}
/// One key/value head of one group.
template <class T>
__device__ __forceinline__ KeyRows<T> prefix_head(const PrefixShape& shape, const PrefixKeys& keys, int group,
                                                  int head) {
  return table_head<T>(keys.k, keys.v, group, shape.prefix, shape.key_heads, shape.width,
                       head / (shape.heads / shape.key_heads), prefix_length(shape, keys, group));
}

/// Every key of tile `tile` is seen, where there is one.
struct EveryKey {
  int left;  ///< keys from the tile's first on
  __device__ EveryKey(int length, int tile) : left(length - tile * kKeyTile) {}
  __device__ __forceinline__ float operator()(int, int column, float product) const {
    return column < left ? product : -INFINITY;
  }
};

}  // namespace peft::cuda
