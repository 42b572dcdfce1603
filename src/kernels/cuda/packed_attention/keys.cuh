#pragma once
/// What the kernels of packed_attention share: which tiles of keys a block goes over, and which keys of a tile a row sees.

#include "src/kernels/cuda/common/attention.cuh"
#include "src/kernels/cuda/packed_attention/api.h"

namespace peft::cuda {

/// The bias of one head by distance, with distance 0 at 0; null: none.
__device__ __forceinline__ const float* bias_of(const PackedKeys& keys, int head) {
  return keys.bias == nullptr ? nullptr : keys.bias + static_cast<int64_t>(head) * keys.bias_span + keys.bias_zero;
}

/// A score of unit 1 for common/attention.cuh: the product of a query and a key of its sequence with their bias, -inf where the query does
/// not see the key.
__device__ __forceinline__ float own_score(const PackedShape& shape, const float* bias, int query, int key,
                                           float product) {
  if ((shape.causal && key > query) || (shape.window > 0 && key <= query - shape.window)) return -INFINITY;
  return shape.scale * product + (bias == nullptr ? 0.0F : bias[key - query]);
}

/// The tiles of keys that some of a block's queries see: those of the prefix, then own ones from `first_own` on.
template <class T>
struct BlockKeys {
  KeyRows<T> prefix, own;
  int prefix_tiles, first_own, tiles;
};
template <class T>
__device__ __forceinline__ BlockKeys<T> block_keys(const PackedShape& shape, const PackedKeys& keys,
                                                   const PackedSequence& sequence, const RowItem& item, int head) {
  const int key_head = head / (shape.heads / shape.key_heads), first_query = item.row0 - sequence.query0,
            last_query = first_query + item.rows - 1;
  BlockKeys<T> block;
  block.prefix = table_head<T>(keys.prefix_k, keys.prefix_v, sequence.table < 0 ? 0 : sequence.table, shape.prefix,
                               shape.key_heads, shape.width, key_head, sequence.table < 0 ? 0 : shape.prefix);
  block.own = {rows_of<const T>(keys.k, sequence.key0, key_head), rows_of<const T>(keys.v, sequence.key0, key_head),
               keys.k.row_stride, keys.v.row_stride, sequence.keys};
  const int end = shape.causal && last_query + 1 < sequence.keys ? last_query + 1 : sequence.keys;
  const int begin = shape.window > 0 && first_query - shape.window + 1 > 0 ? first_query - shape.window + 1 : 0;
  block.prefix_tiles = (block.prefix.length + kKeyTile - 1) / kKeyTile;
  block.first_own = begin / kKeyTile;
  const int own = (end + kKeyTile - 1) / kKeyTile - block.first_own;
  block.tiles = block.prefix_tiles + (own > 0 ? own : 0);
  return block;
}
/// Begins to copy the block's `tile`th tile.
template <int kWidth, int kThreads, class T>
__device__ __forceinline__ void copy_keys(T* to, const BlockKeys<T>& block, int tile) {
  if (tile < block.prefix_tiles)
    copy_keys<kWidth, kThreads>(to, block.prefix, tile);
  else
    copy_keys<kWidth, kThreads>(to, block.own, block.first_own + tile - block.prefix_tiles);
}

/// What a warp's rows see of the block's `tile`th tile; `query` is lane / 4's row in its sequence.
struct TileScore {
  const PackedShape& shape;
  const float* bias;
  int query, first, left;  ///< first: key 0 of the tile in its sequence; left: keys from there on
  bool prefix;
  template <class T>
  __device__ TileScore(const PackedShape& of, const float* bias_of_head, const BlockKeys<T>& block, int tile,
                       int lane_query)
      : shape(of), bias(bias_of_head), query(lane_query), prefix(tile < block.prefix_tiles) {
    first = (prefix ? tile : block.first_own + tile - block.prefix_tiles) * kKeyTile;
    left = (prefix ? block.prefix.length : block.own.length) - first;
  }
  __device__ __forceinline__ float operator()(int lower, int column, float product) const {
    if (column >= left) return -INFINITY;
    return prefix ? shape.scale * product : own_score(shape, bias, query + 8 * lower, first + column, product);
  }
};

}  // namespace peft::cuda
