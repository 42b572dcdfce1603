#pragma once
/// packed_attention, forward: formula and layouts in api.h.
///
/// A block takes up to 64 queries of one sequence and one head, a warp 16 of them, and goes over the tiles of keys that they see: the
/// prefix, then the sequence's own. The online softmax is that of common/attention.cuh. 2 products of 2 D operations for each pair.
///
/// Shared memory, 16-bit values in rows of D + 8:
///   q      rows of the block, then O
///   keys   2 of { K, V }, 64 rows each
/// D 64: 46,080 bytes, D 128: 87,040.
/// Synchronisation: q and the first keys are one group of copies, every further tile another, begun one tile ahead. A barrier after the
/// wait for a tile, another when all have read it. Rows are a warp's own.
/// Bytes a row and head: 4 D + 4 for queries, 4 D G / H for keys and values, and again for every block of the sequence, from the
/// second-level cache.

#include "src/kernels/cuda/packed_attention/keys.cuh"

namespace peft::cuda {

template <int kWidth>
struct PackedForwardTile {
  static constexpr int kThreads = 2 * kPackedRows;
  /// Blocks of a multiprocessor, 0: as many as ptxas finds; above D 64 shared memory has room for two.
  static constexpr int kMinBlocks = kWidth <= 64 ? 0 : 2;
  static constexpr std::size_t kSharedBytes =
      2 * (tile_values(kPackedRows, kWidth) + 4 * tile_values(kKeyTile, kWidth));
};

template <class T, int kWidth>
__global__ void __launch_bounds__(PackedForwardTile<kWidth>::kThreads, PackedForwardTile<kWidth>::kMinBlocks)
    packed_forward_kernel(PackedForward args) {
  constexpr int kThreads = PackedForwardTile<kWidth>::kThreads, kKeys = 2 * tile_values(kKeyTile, kWidth);
  const RowItem item = args.items[blockIdx.x];
  const int head = static_cast<int>(blockIdx.y), warp = static_cast<int>(threadIdx.x) / 32,
            lane = static_cast<int>(threadIdx.x) % 32, row = 16 * warp;
  if (item.rows == 0) return;
  const BlockKeys block(args.shape, args.keys, item, head);
  const float* bias = bias_of(args.keys, head);

  T* q = shared_memory<T>();
  T* keys = q + tile_values(kPackedRows, kWidth);
  copy_tile<kPackedRows, kWidth, kThreads>(q, rows_of<const T>(args.q, item.row0, head), args.q.row_stride, item.rows);
  if (block.tiles > 0) block.copy<kWidth, kThreads>(keys, 0);
  commit_copies();

  SoftmaxRows<kWidth> rows;
  for (int tile = 0; tile < block.tiles; ++tile) {
    if (tile + 1 < block.tiles) block.copy<kWidth, kThreads>(keys + (tile + 1) % 2 * kKeys, tile + 1);
    commit_copies();
    wait_copies<1>();
    __syncthreads();
    if (row < item.rows) {
      const TileScore score(block, bias, tile, item.row0 - block.sequence.query0 + row + lane / 4);
      const Kept kept =
          kept_of_rows(args.keys.dropout, item.row0 + row, item.rows - row, head, score.prefix, score.first, lane);
      merge_keys<kWidth>(rows, q, keys + tile % 2 * kKeys, row, 1.0F, kept, lane, score);
    }
    __syncthreads();
  }
  wait_copies<0>();  // q, where there was no tile
  __syncthreads();
  if (row >= item.rows) return;
  finish_rows<kWidth>(rows, q, row, rows_of<T>(args.out, item.row0, head), args.out.row_stride,
                      args.lse + head * args.shape.query_rows + item.row0, item.rows, lane);
}

template <class T, int kWidth>
int launch_packed_forward(const PackedForward& args, void* stream) {
  using Tile = PackedForwardTile<kWidth>;
  if (args.item_count == 0 || args.shape.heads == 0) return 0;
  const dim3 grid{static_cast<unsigned>(args.item_count), static_cast<unsigned>(args.shape.heads), 1};
  return launch(packed_forward_kernel<T, kWidth>, grid, dim3{Tile::kThreads, 1, 1}, Tile::kSharedBytes, stream, args);
}

}  // namespace peft::cuda
