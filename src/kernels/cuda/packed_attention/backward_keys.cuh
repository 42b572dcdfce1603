#pragma once
/// packed_attention, backward, second launch: dk and dv of the sequences' own keys. Formula and layouts in api.h.
///
/// A block takes up to 64 keys of one sequence and one key/value head, a warp 16 of them, and goes over the queries that see some of them,
/// head after head of those that share theirs; dk and dv stay in registers. 4 products of 2 D operations for each pair.
///
/// Shared memory, 16-bit values in rows of D + 8:
///   keys    K (then dk), V (then dv), 64 rows each
///   rows    2 of { q, dO }, 32 rows
///   exponent, delta   float [rows]
/// D 64: 37,120 bytes, D 128: 69,888.
/// Synchronisation, a tile of rows, whose copies were begun one tile ahead: its copies, exponent and delta are there | all have read.
/// Keys are a warp's own.
/// Bytes: 8 D a key and shared head; 4 D + 8 a row and head for every 64 keys that it sees, from the second-level cache.

#include "src/kernels/cuda/packed_attention/keys.cuh"

namespace peft::cuda {

template <int kWidth>
struct PackedKeyTile {
  static constexpr int kRows = 32, kThreads = 2 * kPackedKeys;
  /// Blocks of a multiprocessor: what registers allow without a spill; 0: ptxas finds as many.
  static constexpr int kMinBlocks = kWidth <= 32 ? 3 : kWidth <= 64 ? 0 : 2;
  static constexpr std::size_t kSharedBytes =
      2 * (2 * tile_values(kPackedKeys, kWidth) + 4 * tile_values(kRows, kWidth)) + 8 * kRows;
};

template <class T, int kWidth>
__global__ void __launch_bounds__(PackedKeyTile<kWidth>::kThreads, PackedKeyTile<kWidth>::kMinBlocks)
    packed_key_kernel(PackedBackward args) {
  using Tile = PackedKeyTile<kWidth>;
  constexpr int kRows = Tile::kRows, kThreads = Tile::kThreads, kValues = tile_values(kRows, kWidth);
  const RowItem item = args.key_items[blockIdx.x];
  const PackedShape& shape = args.shape;
  const int key_head = static_cast<int>(blockIdx.y), share = shape.heads / shape.key_heads,
            thread = static_cast<int>(threadIdx.x), lane = thread % 32, row = thread / 32 * 16, pair = 2 * (lane % 4);
  if (item.rows == 0) return;
  const PackedSequence sequence = args.keys.sequences[item.group];
  const int first_key = item.row0 - sequence.key0, last_key = first_key + item.rows - 1;
  // Queries that see one of the keys, in whole tiles.
  const int begin = shape.causal ? first_key / kRows : 0;
  const int last =
      shape.window > 0 && last_key + shape.window < sequence.queries ? last_key + shape.window : sequence.queries;
  const int end = (last + kRows - 1) / kRows, of_head = end > begin ? end - begin : 0, tiles = share * of_head;

  T* k = shared_memory<T>();
  T *v = k + tile_values(kPackedKeys, kWidth), *rows = v + tile_values(kPackedKeys, kWidth);
  auto* exponent = reinterpret_cast<float*>(rows + 4 * kValues);
  float* delta = exponent + kRows;
  const auto head_of = [&](int tile) { return key_head * share + tile / of_head; };
  const auto query_of = [&](int tile) { return (begin + tile % of_head) * kRows; };
  const auto copy_rows = [&](int tile) {
    T* to = rows + tile % 2 * 2 * kValues;
    const int64_t at = sequence.query0 + query_of(tile);
    const int left = sequence.queries - query_of(tile);
    copy_tile<kRows, kWidth, kThreads>(to, rows_of<const T>(args.q, at, head_of(tile)), args.q.row_stride, left);
    copy_tile<kRows, kWidth, kThreads>(to + kValues, rows_of<const T>(args.dout, at, head_of(tile)),
                                       args.dout.row_stride, left);
  };
  const KeyRows<T> self{rows_of<const T>(args.keys.k, item.row0, key_head),
                        rows_of<const T>(args.keys.v, item.row0, key_head), args.keys.k.row_stride,
                        args.keys.v.row_stride, item.rows};
  copy_keys<kWidth, kThreads>(k, self, 0);
  if (tiles > 0) copy_rows(0);
  commit_copies();

  KeyGradients<kWidth> sums;
  for (int tile = 0; tile < tiles; ++tile) {
    if (tile + 1 < tiles) copy_rows(tile + 1);
    commit_copies();
    const int head = head_of(tile), query = query_of(tile);
    if (thread < kRows) {
      const int64_t first = head * shape.query_rows + sequence.query0;
      exponent[thread] = exponent_of(args.lse + first, query + thread, sequence.queries);
      delta[thread] = query + thread < sequence.queries ? args.delta[first + query + thread] : 0.0F;
    }
    wait_copies<1>();
    __syncthreads();
    if (row < item.rows) {
      const float* bias = bias_of(args.keys, head);
      const int key = first_key + row + lane / 4;
      const T *q = rows + tile % 2 * 2 * kValues, *dout = q + kValues;
      // Keys behind the end are not stored; queries behind it have an exponent that makes their probabilities 0.
      const Kept kept = kept_of_keys<kRows>(args.keys.dropout, sequence.query0 + query, sequence.queries - query, head,
                                            false, first_key + row, lane);
      add_rows<kWidth, kRows, false>(sums, k, v, row, q, dout, exponent, delta, 1.0F, kept, lane,
                                     [&](int lower, int column, float product) {
                                       return self_score(shape, bias, key + 8 * lower - query - column, product);
                                     });
    }
    __syncthreads();
  }
  wait_copies<0>();  // keys, where there was no tile
  __syncthreads();
  if (row >= item.rows) return;

  PEFT_UNROLL
  for (int lower = 0; lower < 2; ++lower) {
    const int at = (row + 8 * lower + lane / 4) * tile_stride(kWidth) + pair;
    PEFT_UNROLL
    for (int j = 0; j < kWidth / 8; ++j) {
      *reinterpret_cast<uint32_t*>(k + at + 8 * j) =
          pack_floats<T>(shape.scale * sums.dk[j][2 * lower], shape.scale * sums.dk[j][2 * lower + 1]);
      *reinterpret_cast<uint32_t*>(v + at + 8 * j) = pack_floats<T>(sums.dv[j][2 * lower], sums.dv[j][2 * lower + 1]);
    }
  }
  __syncwarp();
  const int count = item.rows - row < 16 ? item.rows - row : 16;
  store_tile<kWidth>(rows_of<T>(args.dk, item.row0 + row, key_head), args.dk.row_stride, k + row * tile_stride(kWidth),
                     count, lane, 32);
  store_tile<kWidth>(rows_of<T>(args.dv, item.row0 + row, key_head), args.dv.row_stride, v + row * tile_stride(kWidth),
                     count, lane, 32);
}

template <class T, int kWidth>
int launch_packed_keys(const PackedBackward& args, void* stream) {
  using Tile = PackedKeyTile<kWidth>;
  if (args.key_count == 0 || args.shape.key_heads == 0) return 0;
  const dim3 grid{static_cast<unsigned>(args.key_count), static_cast<unsigned>(args.shape.key_heads), 1};
  return launch(packed_key_kernel<T, kWidth>, grid, dim3{Tile::kThreads, 1, 1}, Tile::kSharedBytes, stream, args);
}

}  // namespace peft::cuda
