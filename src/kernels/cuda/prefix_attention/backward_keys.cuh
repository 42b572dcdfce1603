#pragma once
/// prefix_attention, backward, second and third launch: dPk and dPv. Formula and layouts in api.h.
///
/// A block takes 64 keys against a chunk of up to 512 rows of their group and one head, a warp 16 of the keys, whose dK and dV, D floats a
/// lane, stay in registers over the chunk. 6 products of 2 D operations for each row and key: P^T and ds^T are multiplied as two 16-bit numbers
/// each, their rounded values and what rounding took. The partial sums go to memory; prefix_sum_kernel adds the chunks and the query heads of
/// a key/value head.
///
/// Shared memory, 16-bit values in rows of D + 8:
///   keys    K, V, 64 rows each
///   rows    2 of { q, dO }, 64 rows (D > 80: 32)
///   exponent, delta   float [rows]
/// D 64: 55,808 bytes, D 128: 69,888.
/// Synchronisation, a tile of rows, whose copies were begun one tile ahead: its copies, exponent and delta are there | all have read.
/// Bytes: 4 D + 8 a row and head for every 64 keys, and 16 P D a chunk and head to write and read the partial sums.

#include "src/kernels/cuda/prefix_attention/keys.cuh"

namespace peft::cuda {

template <int kWidth>
struct PrefixKeyTile {
  static constexpr int kRows = kWidth <= 80 ? 64 : 32, kThreads = 2 * kKeyTile;
  static constexpr std::size_t kSharedBytes =
      2 * (2 * tile_values(kKeyTile, kWidth) + 4 * tile_values(kRows, kWidth)) + 8 * kRows;
};

template <class T, int kWidth>
__global__ void __launch_bounds__(PrefixKeyTile<kWidth>::kThreads)
    prefix_key_kernel(PrefixBackward args, NamedDropout dropout) {
  using Tile = PrefixKeyTile<kWidth>;
  constexpr int kRows = Tile::kRows, kThreads = Tile::kThreads, kValues = tile_values(kRows, kWidth);
  const RowItem item = args.chunks[blockIdx.x];
  const PrefixShape& shape = args.shape;
  const int head = static_cast<int>(blockIdx.y), tile_of_keys = static_cast<int>(blockIdx.z),
            thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32, pair = 2 * (lane % 4);
  if (item.rows == 0 || tile_of_keys * kKeyTile >= prefix_length(shape, args.keys, item.group)) return;
  const KeyRows<T> prefix = prefix_head<T>(shape, args.keys, item.group, head);

  T* k = shared_memory<T>();
  T *v = k + tile_values(kKeyTile, kWidth), *rows = v + tile_values(kKeyTile, kWidth);
  auto* exponent = reinterpret_cast<float*>(rows + 4 * kValues);
  float* delta = exponent + kRows;
  const auto copy_rows = [&](int tile) {
    T* to = rows + tile % 2 * 2 * kValues;
    const int64_t row = item.row0 + tile * kRows;
    const int left = item.rows - tile * kRows;
    copy_tile<kRows, kWidth, kThreads>(to, rows_of<const T>(args.q, row, head), args.q.row_stride, left);
    copy_tile<kRows, kWidth, kThreads>(to + kValues, rows_of<const T>(args.dout, row, head), args.dout.row_stride,
                                       left);
  };
  copy_keys<kWidth, kThreads>(k, prefix, tile_of_keys);
  copy_rows(0);
  commit_copies();

  const int tile_count = (item.rows + kRows - 1) / kRows, first_key = tile_of_keys * kKeyTile + 16 * warp + lane / 4;
  KeyGradients<kWidth> sums;
  for (int tile = 0; tile < tile_count; ++tile) {
    if (tile + 1 < tile_count) copy_rows(tile + 1);
    commit_copies();
    if (thread < kRows) {
      const int row = tile * kRows + thread;
      const int64_t first = head * shape.rows + item.row0;
      exponent[thread] = exponent_of(args.lse + first, row, item.rows);
      delta[thread] = row < item.rows ? args.delta[first + row] : 0.0F;
    }
    wait_copies<1>();
    __syncthreads();
    if (tile_of_keys * kKeyTile + 16 * warp < prefix.length) {  // keys behind the end are not stored
      const T *q = rows + tile % 2 * 2 * kValues, *dout = q + kValues;
      const int first_row = tile * kRows;
      const Kept kept = kept_of_keys<kRows>(dropout, item.row0 + first_row, item.rows - first_row, head, true,
                                            tile_of_keys * kKeyTile + 16 * warp, lane);
      add_rows<kWidth, kRows, true>(sums, k, v, 16 * warp, q, dout, exponent, delta, shape.scale, kept, lane,
                                    [](int, int, float product) { return product; });
    }
    __syncthreads();
  }

  const int64_t block = static_cast<int64_t>(blockIdx.x) * shape.heads + head;
  float* partial = args.partial + block * prefix_partial_floats(shape.prefix, kWidth);
  PEFT_UNROLL
  for (int lower = 0; lower < 2; ++lower) {
    const int key = first_key + 8 * lower;
    if (key >= prefix.length) continue;
    PEFT_UNROLL
    for (int j = 0; j < kWidth / 8; ++j) {
      auto* to = reinterpret_cast<float2*>(partial + 2 * kWidth * key + 8 * j + pair);
      to[0] = make_float2(shape.scale * sums.dk[j][2 * lower], shape.scale * sums.dk[j][2 * lower + 1]);
      to[kWidth / 2] = make_float2(sums.dv[j][2 * lower], sums.dv[j][2 * lower + 1]);
    }
  }
}

constexpr int kPrefixSumThreads = 128;

/// A thread has four numbers of one key or value. Nothing was written for keys from `length` on.
template <int kWidth>
__global__ void __launch_bounds__(kPrefixSumThreads) prefix_sum_kernel(PrefixBackward args) {
  const PrefixShape& shape = args.shape;
  const int64_t floats = prefix_partial_floats(shape.prefix, kWidth);
  const int at = 4 * (static_cast<int>(blockIdx.x) * kPrefixSumThreads + static_cast<int>(threadIdx.x));
  if (at >= floats) return;
  const int group = static_cast<int>(blockIdx.y) / shape.key_heads,
            head = static_cast<int>(blockIdx.y) % shape.key_heads;
  const int key = at / (2 * kWidth), column = at % (2 * kWidth);
  float4 total = make_float4(0.0F, 0.0F, 0.0F, 0.0F);
  if (key < prefix_length(shape, args.keys, group))
    total = sum_partials(args.partial + at, floats, args.first_chunk, shape.heads, shape.key_heads);
  float* to = column < kWidth ? args.dk : args.dv;
  const int64_t row = (static_cast<int64_t>(group) * shape.prefix + key) * shape.key_heads + head;
  *reinterpret_cast<float4*>(to + row * kWidth + column % kWidth) = total;
}

template <class T, int kWidth>
int launch_prefix_keys(const PrefixBackward& args, const NamedDropout& dropout, void* stream) {
  using Tile = PrefixKeyTile<kWidth>;
  const PrefixShape& shape = args.shape;
  if (shape.prefix == 0 || shape.heads == 0 || shape.groups == 0) return 0;
  if (args.chunk_count > 0) {
    const dim3 grid{static_cast<unsigned>(args.chunk_count), static_cast<unsigned>(shape.heads),
                    static_cast<unsigned>((shape.prefix + kKeyTile - 1) / kKeyTile)};
    if (const int error = launch(prefix_key_kernel<T, kWidth>, grid, dim3{Tile::kThreads, 1, 1}, Tile::kSharedBytes,
                                 stream, args, dropout))
      return error;
  }
  const auto threads = static_cast<unsigned>(prefix_partial_floats(shape.prefix, kWidth) / 4);
  const dim3 grid{(threads + kPrefixSumThreads - 1) / kPrefixSumThreads,
                  static_cast<unsigned>(shape.groups * shape.key_heads), 1};
  return launch(prefix_sum_kernel<kWidth>, grid, dim3{kPrefixSumThreads, 1, 1}, 0, stream, args);
}

}  // namespace peft::cuda
