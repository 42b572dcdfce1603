#pragma once
/// kv_assembly's backward of the prefix tables; formulas and layouts in api.h.
///
/// Launch 1, one block of 128 threads for a row of a table and up to eight of its sequences: their rows of dkeys and dvalues are added in the
/// order of the sequences -> partial [sum, P, 2, G D].
/// Launch 2, one block a row of a table: the table's partial sums as four interleaved sums and a tree; a rotated prefix is rotated back here,
/// once instead of once a sequence. Rows that an adapter does not use, and tables without sequences, get zeros.
/// No shared memory, no barrier. Bytes from memory: 2 G D (sizeof(T) sequences + 4 sums written and read + 4 written) a row of a table.

#include "src/kernels/cuda/kv_assembly/rows.cuh"

namespace peft::cuda {

template <class T>
__global__ void __launch_bounds__(kKvThreads) kv_prefix_partial_kernel(KvAssemblyBackward p) {
  const KvSum sum = p.sums[blockIdx.x];
  const int j = static_cast<int>(blockIdx.y);
  if (sum.count == 0 || j >= p.length[sum.table]) return;
  const int row_values = p.shape.kv_heads * p.shape.width, pieces = row_values / kPiece;
  float* partial = p.partial + (static_cast<int64_t>(blockIdx.x) * p.shape.prefix + j) * 2 * row_values;
  for (int i = static_cast<int>(threadIdx.x); i < 2 * pieces; i += kKvThreads) {
    const T* from = static_cast<const T*>(i < pieces ? p.dkeys : p.dvalues) + i % pieces * kPiece;
    Piece<float> total = {};
    for (int s = 0; s < sum.count; ++s) {
      const Piece<T> add = load_piece(from + static_cast<int64_t>(p.prefix_begin[sum.first + s] + j) * row_values);
      for (int c = 0; c < kPiece; ++c) total.values[c] += to_float(add.values[c]);
    }
    store_piece(partial + i * kPiece, total);
  }
}

/// Sum of `count` pieces, `stride` apart.
__device__ __forceinline__ Piece<float> sum_pieces(const float* from, int64_t stride, int count) {
  Piece<float> sums[4] = {};
  const auto add = [](Piece<float>& sum, const Piece<float>& x) {
    for (int c = 0; c < kPiece; ++c) sum.values[c] += x.values[c];
  };
  for (int i = 0; i < count; i += 4) {
    for (int lane = 0; lane < 4; ++lane) {
      if (i + lane < count) add(sums[lane], load_piece(from + (i + lane) * stride));
    }
  }
  add(sums[0], sums[1]);
  add(sums[2], sums[3]);
  add(sums[0], sums[2]);
  return sums[0];
}

__device__ __forceinline__ void put_sum(float* to, Piece<float> sum, bool accumulate) {
  if (accumulate) {
    const Piece<float> old = load_piece(to);
    for (int c = 0; c < kPiece; ++c) sum.values[c] += old.values[c];
  }
  store_piece(to, sum);
}

template <bool Rotate>
__global__ void __launch_bounds__(kKvThreads) kv_prefix_sum_kernel(KvAssemblyBackward p) {
  const int j = static_cast<int>(blockIdx.x), table = static_cast<int>(blockIdx.y);
  const int width = p.shape.width, row_values = p.shape.kv_heads * width, first = p.first_sum[table];
  const int count = j < p.length[table] ? p.first_sum[table + 1] - first : 0;
  const int64_t stride = static_cast<int64_t>(p.shape.prefix) * 2 * row_values,
                at = (static_cast<int64_t>(table) * p.shape.prefix + j) * row_values;
  const float* partial = p.partial + first * stride + static_cast<int64_t>(j) * 2 * row_values;
  float *dk = p.dprefix_k + at, *dv = p.dprefix_v + at;
  for (int i = static_cast<int>(threadIdx.x) * kPiece; i < row_values; i += kKvThreads * kPiece)
    put_sum(dv + i, sum_pieces(partial + row_values + i, stride, count), p.accumulate);
  if (!Rotate) {
    for (int i = static_cast<int>(threadIdx.x) * kPiece; i < row_values; i += kKvThreads * kPiece)
      put_sum(dk + i, sum_pieces(partial + i, stride, count), p.accumulate);
    return;
  }
  const int half_width = width / 2, pairs = half_width / kPiece;
  const float *cos = p.cos + static_cast<int64_t>(j) * half_width, *sin = p.sin + static_cast<int64_t>(j) * half_width;
  for (int i = static_cast<int>(threadIdx.x); i < p.shape.kv_heads * pairs; i += kKvThreads) {
    const int column = i % pairs * kPiece, k_at = i / pairs * width + column;
    Piece<float> one = sum_pieces(partial + k_at, stride, count),
                 two = sum_pieces(partial + k_at + half_width, stride, count);
    if (count > 0) rotate_pair(one, two, load_piece(cos + column), load_piece(sin + column), -1.0F);
    put_sum(dk + k_at, one, p.accumulate);
    put_sum(dk + k_at + half_width, two, p.accumulate);
  }
}

template <class T>
int launch_kv_prefix(const KvAssemblyBackward& p, void* stream) {
  const dim3 block{kKvThreads, 1, 1};
  const auto rows = static_cast<unsigned>(p.shape.prefix);
  if (const int error =
          launch(kv_prefix_partial_kernel<T>, dim3{static_cast<unsigned>(p.sum_count), rows, 1}, block, 0, stream, p))
    return error;
  const dim3 grid{rows, static_cast<unsigned>(p.tables), 1};
  return p.rotate_prefix && p.cos != nullptr ? launch(kv_prefix_sum_kernel<true>, grid, block, 0, stream, p)
                                             : launch(kv_prefix_sum_kernel<false>, grid, block, 0, stream, p);
}

}  // namespace peft::cuda
