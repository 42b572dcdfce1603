#pragma once
/// What the kernels of packed_attention share: which tiles of keys a block goes over, and which keys of a tile a row sees.

#include "src/kernels/cuda/common/attention.cuh"
#include "src/kernels/cuda/packed_attention/api.h"

namespace peft::cuda {

/// The bias of one head by distance, with distance 0 at 0; null: none.
__device__ __forceinline__ const float* bias_of(const PackedKeys& keys, int head) {
  return keys.bias == nullptr ? nullptr : keys.bias + static_cast<int64_t>(head) * keys.bias_span + keys.bias_zero;
}

/// A score of unit 1 for common/attention.cuh: the product of a query and a key of its sequence with their bias, -inf where the query does not
/// see the key. distance: key - query.
__device__ __forceinline__ float self_score(const PackedShape& shape, const float* bias, int distance, float product) {
  if ((shape.causal && distance > 0) || (shape.window > 0 && distance <= -shape.window)) return -INFINITY;
  return shape.scale * product + (bias == nullptr ? 0.0F : bias[distance]);
}

/// The tiles of keys that some of a block's queries see: those of the prefix, then own ones from `first_own` on. Where they lie is worked
/// out anew for every tile: pointers would take registers over the whole loop.
struct BlockKeys {
  const PackedShape& shape;
  const PackedKeys& keys;
  PackedSequence sequence;
  int key_head, prefix_length, prefix_tiles, first_self, tiles;
  __device__ BlockKeys(const PackedShape& of_shape, const PackedKeys& of_keys, const RowItem& item, int head)
      : shape(of_shape), keys(of_keys), sequence(of_keys.sequences[item.group]) {
    const int first_query = item.row0 - sequence.query0, last_query = first_query + item.rows - 1;
    const int end = shape.causal && last_query + 1 < sequence.keys ? last_query + 1 : sequence.keys;
    const int begin = shape.window > 0 && first_query - shape.window + 1 > 0 ? first_query - shape.window + 1 : 0;
    key_head = head / (shape.heads / shape.key_heads);
    prefix_length = sequence.table < 0 ? 0 : shape.prefix;
    prefix_tiles = (prefix_length + kKeyTile - 1) / kKeyTile;
    first_self = begin / kKeyTile;
    const int self = (end + kKeyTile - 1) / kKeyTile - first_self;
    tiles = prefix_tiles + (self > 0 ? self : 0);
  }
  /// Begins to copy the block's `tile`th tile.
  template <int kWidth, int kThreads, class T>
  __device__ __forceinline__ void copy(T* to, int tile) const {
    if (tile < prefix_tiles) {
      copy_keys<kWidth, kThreads>(to,
                                  table_head<T>(keys.prefix_k, keys.prefix_v, sequence.table, shape.prefix,
                                                shape.key_heads, kWidth, key_head, prefix_length),
                                  tile);
    } else {
      const KeyRows<T> self{rows_of<const T>(keys.k, sequence.key0, key_head),
                            rows_of<const T>(keys.v, sequence.key0, key_head), keys.k.row_stride, keys.v.row_stride,
                            sequence.keys};
      copy_keys<kWidth, kThreads>(to, self, first_self + tile - prefix_tiles);
    }
  }
};

/// What a warp's rows see of the block's `tile`th tile; `query` is lane / 4's row in its sequence.
struct TileScore {
  const PackedShape& shape;
  const float* bias;
  int first, left;  ///< key 0 of the tile in its sequence; keys from there on
  int distance;     ///< first - query; of a prefix it means nothing
  bool prefix;
  __device__ TileScore(const BlockKeys& block, const float* bias_of_head, int tile, int query)
      : shape(block.shape), bias(bias_of_head), prefix(tile < block.prefix_tiles) {
    first = (prefix ? tile : block.first_self + tile - block.prefix_tiles) * kKeyTile;
    left = (prefix ? block.prefix_length : block.sequence.keys) - first;
    distance = first - query;
  }
  __device__ __forceinline__ float operator()(int lower, int column, float product) const {
    if (column >= left) return -INFINITY;
    return prefix ? shape.scale * product : self_score(shape, bias, distance + column - 8 * lower, product);
  }
};

}  // namespace peft::cuda
