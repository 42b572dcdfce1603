#pragma once
/// packed_attention, backward, first launch: delta and dq. Formula and layouts in api.h.
///
/// Blocks and tiles of keys as in the forward pass. 4 products of 2 D operations for each pair; dq and sum_j p_j k_j, which corrects it when
/// delta is known (QueryGradients; where `merged`, it is not), are added up in registers.
///
/// Shared memory, 16-bit values in rows of D + 8:
///   rows   3 of 64 rows: dO, q (then dq), O
///   keys   2 of { K, V }, 64 rows each
/// D 64: 64,512 bytes, D 128: 121,856.
/// Synchronisation: as the forward pass.
/// Bytes a row and head: 8 D + 8 for queries, keys and values as in the forward pass.

#include "src/kernels/cuda/packed_attention/keys.cuh"

namespace peft::cuda {

template <int kWidth>
struct PackedQueryTile {
  static constexpr int kThreads = 2 * kPackedRows;
  /// Blocks of a multiprocessor, 0: as many as ptxas finds; above D 64 shared memory has room for two.
  static constexpr int kMinBlocks = kWidth <= 64 ? 0 : 2;
  static constexpr std::size_t kSharedBytes =
      2 * (3 * tile_values(kPackedRows, kWidth) + 4 * tile_values(kKeyTile, kWidth));
};

template <class T, int kWidth>
__global__ void __launch_bounds__(PackedQueryTile<kWidth>::kThreads, PackedQueryTile<kWidth>::kMinBlocks)
    packed_query_kernel(PackedBackward args) {
  constexpr int kThreads = PackedQueryTile<kWidth>::kThreads, kKeys = 2 * tile_values(kKeyTile, kWidth),
                kValues = tile_values(kPackedRows, kWidth);
  const RowItem item = args.queries[blockIdx.x];
  const int head = static_cast<int>(blockIdx.y), warp = static_cast<int>(threadIdx.x) / 32,
            lane = static_cast<int>(threadIdx.x) % 32, row = 16 * warp;
  if (item.rows == 0) return;
  const BlockKeys block(args.shape, args.keys, item, head);
  const float* bias = bias_of(args.keys, head);

  T* dout = shared_memory<T>();
  T *q = dout + kValues, *out = q + kValues, *keys = out + kValues;
  const auto copy_rows = [&](T* to, const HeadRows& rows) {
    copy_tile<kPackedRows, kWidth, kThreads>(to, rows_of<const T>(rows, item.row0, head), rows.row_stride, item.rows);
  };
  copy_rows(dout, args.dout);
  copy_rows(q, args.q);
  copy_rows(out, args.out);
  if (block.tiles > 0) block.copy<kWidth, kThreads>(keys, 0);
  commit_copies();

  const int64_t first = head * args.shape.query_rows + item.row0;
  const float exponent[2] = {exponent_of(args.lse + first, row + lane / 4, item.rows),
                             exponent_of(args.lse + first, row + lane / 4 + 8, item.rows)};
  float estimate[2] = {};
  QueryGradients<kWidth> sums;
  for (int tile = 0; tile < block.tiles; ++tile) {
    if (tile + 1 < block.tiles) block.copy<kWidth, kThreads>(keys + (tile + 1) % 2 * kKeys, tile + 1);
    commit_copies();
    wait_copies<1>();
    __syncthreads();
    if (row < item.rows) {
      if (tile == 0) row_deltas<kWidth>(estimate, dout, out, row, lane);
      const TileScore score(block, bias, tile, item.row0 - block.sequence.query0 + row + lane / 4);
      const Kept kept =
          kept_of_rows(args.keys.dropout, item.row0 + row, item.rows - row, head, score.prefix, score.first, lane);
      add_query_gradients<kWidth>(sums, q, dout, keys + tile % 2 * kKeys, row, exponent, estimate, 1.0F, kept, lane,
                                  score);
    }
    __syncthreads();
  }
  wait_copies<0>();  // q, where there was no tile
  __syncthreads();
  if (row >= item.rows) return;
  const float excess[2] = {args.merged ? 0.0F : excess_of(sums, 0), args.merged ? 0.0F : excess_of(sums, 1)};
  finish_query_gradients<kWidth, false>(sums, estimate, excess, args.shape.scale, q, row,
                                        rows_of<T>(args.dq, item.row0, head), args.dq.row_stride, args.delta + first,
                                        item.rows, lane);
}

template <class T, int kWidth>
int launch_packed_queries(const PackedBackward& args, void* stream) {
  using Tile = PackedQueryTile<kWidth>;
  if (args.query_count == 0 || args.shape.heads == 0) return 0;
  const dim3 grid{static_cast<unsigned>(args.query_count), static_cast<unsigned>(args.shape.heads), 1};
  return launch(packed_query_kernel<T, kWidth>, grid, dim3{Tile::kThreads, 1, 1}, Tile::kSharedBytes, stream, args);
}

}  // namespace peft::cuda
