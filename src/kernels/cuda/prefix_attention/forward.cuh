#pragma once
/// prefix_attention, forward: formula and layouts in api.h.
///
/// A block takes 128 rows (D > 80: 64) of one group and one head, a warp 16 of them. The softmax part is where the online softmax over
/// prefix tiles (common/attention.cuh) starts: maximum L_s, sum 1, accumulator O_s; with no keys before, -inf, 0, 0. So an empty prefix
/// changes no bit.
///
/// Shared memory, 16-bit values in rows of D + 8:
///   q      rows of the block
///   self   the same: O_s, then O
///   keys   2 of { K, V }, 64 rows each
/// D 64: 73,728 bytes, D 128: 104,448.
/// Synchronisation: q, O_s and the first keys are one group of copies, every further tile another, begun one tile ahead. A barrier after
/// the wait for a tile, another when all have read it. Rows are a warp's own.
/// Bytes a row and head: 6 D + 8, and 4 P D / rows for keys and values, which come from the second-level cache.

#include "src/kernels/cuda/prefix_attention/keys.cuh"

namespace peft::cuda {

template <int kWidth>
struct PrefixForwardTile {
  static constexpr int kRows = prefix_forward_rows(kWidth), kThreads = 2 * kRows;
  static constexpr std::size_t kSharedBytes = 2 * (2 * tile_values(kRows, kWidth) + 4 * tile_values(kKeyTile, kWidth));
};

template <int kWidth, class T>
__device__ __forceinline__ void start_rows(SoftmaxRows<kWidth>& rows, const T* self, const float (&self_lse)[2],
                                           int row, int lane) {
  PEFT_UNROLL
  for (int lower = 0; lower < 2; ++lower) {
    const bool keys = fabsf(self_lse[lower]) != INFINITY;
    rows.largest[lower] = keys ? self_lse[lower] : -INFINITY;
    rows.sum[lower] = keys && lane % 4 == 0 ? 1.0F : 0.0F;
    PEFT_UNROLL
    for (int j = 0; j < kWidth / 8; ++j) {
      uint32_t pair;
      memcpy(&pair, self + (row + 8 * lower + lane / 4) * tile_stride(kWidth) + 8 * j + 2 * (lane % 4), 4);
      const float2 o = unpack<T>(pair);
      rows.values[j][2 * lower] = keys ? o.x : 0.0F;
      rows.values[j][2 * lower + 1] = keys ? o.y : 0.0F;
    }
  }
}

template <class T, int kWidth>
__global__ void __launch_bounds__(PrefixForwardTile<kWidth>::kThreads) prefix_forward_kernel(PrefixForward args) {
  using Tile = PrefixForwardTile<kWidth>;
  constexpr int kThreads = Tile::kThreads, kKeys = 2 * tile_values(kKeyTile, kWidth);
  const RowItem item = args.items[blockIdx.x];
  const PrefixShape& shape = args.shape;
  const int head = static_cast<int>(blockIdx.y), warp = static_cast<int>(threadIdx.x) / 32,
            lane = static_cast<int>(threadIdx.x) % 32;
  if (item.rows == 0) return;
  if (prefix_length(shape, args.keys, item.group) == 0)
    return keep_rows<T, kWidth, kThreads>(args.self, args.out, args.self_lse, args.lse, shape.rows, item, head);
  const KeyRows<T> prefix = prefix_head<T>(shape, args.keys, item.group, head);

  T* q = shared_memory<T>();
  T* self = q + tile_values(Tile::kRows, kWidth);
  T* keys = self + tile_values(Tile::kRows, kWidth);
  copy_tile<Tile::kRows, kWidth, kThreads>(q, rows_of<const T>(args.q, item.row0, head), args.q.row_stride, item.rows);
  copy_tile<Tile::kRows, kWidth, kThreads>(self, rows_of<const T>(args.self, item.row0, head), args.self.row_stride,
                                           item.rows);
  copy_keys<kWidth, kThreads>(keys, prefix, 0);
  commit_copies();

  const int row = 16 * warp, tile_count = (prefix.length + kKeyTile - 1) / kKeyTile;
  const int64_t first = head * shape.rows + item.row0;
  float self_lse[2];
  PEFT_UNROLL
  for (int lower = 0; lower < 2; ++lower) {
    const int r = row + 8 * lower + lane / 4;
    self_lse[lower] = r < item.rows ? args.self_lse[first + r] : -INFINITY;
  }
  SoftmaxRows<kWidth> rows;
  for (int tile = 0; tile < tile_count; ++tile) {
    if (tile + 1 < tile_count) copy_keys<kWidth, kThreads>(keys + (tile + 1) % 2 * kKeys, prefix, tile + 1);
    commit_copies();
    wait_copies<1>();
    __syncthreads();
    if (row < item.rows) {
      if (tile == 0) start_rows<kWidth>(rows, self, self_lse, row, lane);
      merge_keys<kWidth>(rows, q, keys + tile % 2 * kKeys, row, shape.scale, Kept{}, lane,
                         EveryKey(prefix.length, tile));
    }
    __syncthreads();
  }
  if (row >= item.rows) return;
  finish_rows<kWidth>(rows, self, row, rows_of<T>(args.out, item.row0, head), args.out.row_stride, args.lse + first,
                      item.rows, lane);
}

template <class T, int kWidth>
int launch_prefix_forward(const PrefixForward& args, void* stream) {
  using Tile = PrefixForwardTile<kWidth>;
  if (args.item_count == 0 || args.shape.heads == 0) return 0;
  const dim3 grid{static_cast<unsigned>(args.item_count), static_cast<unsigned>(args.shape.heads), 1};
  return launch(prefix_forward_kernel<T, kWidth>, grid, dim3{Tile::kThreads, 1, 1}, Tile::kSharedBytes, stream, args);
}

}  // namespace peft::cuda
