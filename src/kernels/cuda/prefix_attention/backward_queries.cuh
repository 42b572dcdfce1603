#pragma once
/// prefix_attention, backward, first launch: delta and dq. Formula and layouts in api.h.
///
/// A block takes 64 rows of one group and one head, a warp 16 of them, and goes over the prefix in tiles of 64 keys: scores, dO V^T, ds,
/// ds K and p K added up in registers (QueryGradients). 4 products of 2 D operations for each row and key.
///
/// Shared memory, 16-bit values in rows of D + 8:
///   rows   5 of 64 rows: dO, q, O, O_s, dq
///   keys   2 of { K, V }, 64 rows each
/// D 64: 82,944 bytes, D 128: 156,672.
/// Synchronisation: as the forward pass.
/// Bytes a row and head: 12 D + 12, and 4 P D / 64 from the second-level cache.

#include "src/kernels/cuda/prefix_attention/keys.cuh"

namespace peft::cuda {

template <int kWidth>
struct PrefixQueryTile {
  static constexpr int kRows = prefix_query_rows(kWidth), kThreads = 2 * kRows;
  static constexpr int kColumns = kWidth > 96 ? 2 : 4;  ///< of 8 keys at a time: what registers hold
  static constexpr std::size_t kSharedBytes = 2 * (5 * tile_values(kRows, kWidth) + 4 * tile_values(kKeyTile, kWidth));
};

/// e^{L_s - L} of row `row` of `count`; 0 without keys, where L_s is infinite and O_s may be anything. `exponent` is log2(e) L.
__device__ __forceinline__ float self_weight(const float* self_lse, float exponent, int row, int count) {
  const float self = row < count ? self_lse[row] : INFINITY;
  return fabsf(self) == INFINITY ? 0.0F : exp2f(kLog2E * self - exponent);
}

/// delta = rowsum(dO * O) of an item's rows, a warp a row, where nothing else is done with them.
template <class T, int kWidth, int kThreads>
__device__ __forceinline__ void store_delta(float* delta, const HeadRows& dout, const HeadRows& out, int64_t rows,
                                            const RowItem& item, int head) {
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  for (int row = warp; row < item.rows; row += kThreads / 32) {
    const T* x = rows_of<const T>(dout, item.row0 + row, head);
    const T* y = rows_of<const T>(out, item.row0 + row, head);
    float sum = 0.0F;
    for (int i = lane; i < kWidth; i += 32) sum += to_float(x[i]) * to_float(y[i]);
    sum = warp_sum(sum);
    if (lane == 0) delta[head * rows + item.row0 + row] = sum;
  }
}

template <class T, int kWidth>
__global__ void __launch_bounds__(PrefixQueryTile<kWidth>::kThreads) prefix_query_kernel(PrefixBackward args) {
  using Tile = PrefixQueryTile<kWidth>;
  constexpr int kThreads = Tile::kThreads, kKeys = 2 * tile_values(kKeyTile, kWidth),
                kValues = tile_values(Tile::kRows, kWidth);
  const RowItem item = args.queries[blockIdx.x];
  const PrefixShape& shape = args.shape;
  const int head = static_cast<int>(blockIdx.y), warp = static_cast<int>(threadIdx.x) / 32,
            lane = static_cast<int>(threadIdx.x) % 32;
  if (item.rows == 0) return;
  if (prefix_length(shape, args.keys, item.group) == 0)
    return store_delta<T, kWidth, kThreads>(args.delta, args.dout, args.out, shape.rows, item, head);
  const KeyRows<T> prefix = prefix_head<T>(shape, args.keys, item.group, head);

  T* dout = shared_memory<T>();
  T *q = dout + kValues, *out = q + kValues, *self = out + kValues, *dq = self + kValues, *keys = dq + kValues;
  const auto copy_rows = [&](T* to, const HeadRows& rows) {
    copy_tile<Tile::kRows, kWidth, kThreads>(to, rows_of<const T>(rows, item.row0, head), rows.row_stride, item.rows);
  };
  copy_rows(dout, args.dout);
  copy_rows(q, args.q);
  copy_rows(out, args.out);
  copy_rows(self, args.self);
  copy_rows(dq, args.dq);
  copy_keys<kWidth, kThreads>(keys, prefix, 0);
  commit_copies();

  const int row = 16 * warp, tile_count = (prefix.length + kKeyTile - 1) / kKeyTile;
  const int64_t first = head * shape.rows + item.row0;
  const float exponent[2] = {exponent_of(args.lse + first, row + lane / 4, item.rows),
                             exponent_of(args.lse + first, row + lane / 4 + 8, item.rows)};
  float estimate[2] = {};
  QueryGradients<kWidth> sums;
  for (int tile = 0; tile < tile_count; ++tile) {
    if (tile + 1 < tile_count) copy_keys<kWidth, kThreads>(keys + (tile + 1) % 2 * kKeys, prefix, tile + 1);
    commit_copies();
    wait_copies<1>();
    __syncthreads();
    if (row < item.rows) {
      if (tile == 0) row_deltas<kWidth>(estimate, dout, out, row, lane);
      add_query_gradients<kWidth, Tile::kColumns>(sums, q, dout, keys + tile % 2 * kKeys, row, exponent, estimate,
                                                  shape.scale, Kept{}, lane, EveryKey(prefix.length, tile));
    }
    __syncthreads();
  }
  if (row >= item.rows) return;
  float of_self[2] = {}, excess[2];
  row_deltas<kWidth>(of_self, dout, self, row, lane);
  PEFT_UNROLL
  for (int lower = 0; lower < 2; ++lower) {
    const float p = self_weight(args.self_lse + first, exponent[lower], row + lane / 4 + 8 * lower, item.rows);
    excess[lower] = excess_of(sums, lower, p == 0.0F ? 0.0F : p * (of_self[lower] - estimate[lower]), p);
  }
  finish_query_gradients<kWidth, true>(sums, estimate, excess, shape.scale, dq, row,
                                       rows_of<T>(args.dq, item.row0, head), args.dq.row_stride, args.delta + first,
                                       item.rows, lane);
}

template <class T, int kWidth>
int launch_prefix_queries(const PrefixBackward& args, void* stream) {
  using Tile = PrefixQueryTile<kWidth>;
  if (args.query_count == 0 || args.shape.heads == 0) return 0;
  const dim3 grid{static_cast<unsigned>(args.query_count), static_cast<unsigned>(args.shape.heads), 1};
  return launch(prefix_query_kernel<T, kWidth>, grid, dim3{Tile::kThreads, 1, 1}, Tile::kSharedBytes, stream, args);
}

}  // namespace peft::cuda
