#pragma once
/// kv_assembly's rows: the forward, and the backward of q, k and v; formulas and layouts in api.h.
///
/// One block of 128 threads a row of keys and values; a thread moves 16 bytes at a time, with rotation eight values of a head's first half and
/// their partners of the second. No shared memory, no barrier. cos and sin rows are read by all heads of a row and stay in L1.
/// Bytes from memory: one read and one write of everything: 4 G D sizeof(T) a row, with rotation 2 H D sizeof(T) more a row of the text for q.

#include "src/kernels/cuda/common/piece.cuh"
#include "src/kernels/cuda/kv_assembly/api.h"

namespace peft::cuda {

constexpr int kKvThreads = 128;

/// A row of key/value heads, bit for bit.
template <class T>
__device__ __forceinline__ void copy_row(T* __restrict__ to, const T* __restrict__ from, int values) {
  const int words = values * static_cast<int>(sizeof(T)) / 16;
  for (int i = static_cast<int>(threadIdx.x); i < words; i += kKvThreads)
    reinterpret_cast<uint4*>(to)[i] = reinterpret_cast<const uint4*>(from)[i];
}

/// (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin), in float. Backward: with -sin.
template <class T>
__device__ __forceinline__ void rotate_pair(Piece<T>& first, Piece<T>& second, const Piece<float>& cos,
                                            const Piece<float>& sin, float direction) {
  for (int j = 0; j < kPiece; ++j) {
    const float x1 = to_float(first.values[j]), x2 = to_float(second.values[j]), c = cos.values[j],
                s = direction * sin.values[j];
    first.values[j] = from_float<T>(x1 * c - x2 * s);
    second.values[j] = from_float<T>(x2 * c + x1 * s);
  }
}

/// `heads` heads of one row; cos and sin: of its position. In place when to = from.
template <class T>
__device__ __forceinline__ void rotate_heads(T* to, const T* from, int heads, int width, const float* cos,
                                             const float* sin, float direction) {
  const int half_width = width / 2, pairs = half_width / kPiece;
  for (int i = static_cast<int>(threadIdx.x); i < heads * pairs; i += kKvThreads) {
    const int column = i % pairs * kPiece, at = i / pairs * width + column;
    Piece<T> first = load_piece(from + at), second = load_piece(from + at + half_width);
    rotate_pair(first, second, load_piece(cos + column), load_piece(sin + column), direction);
    store_piece(to + at, first);
    store_piece(to + at + half_width, second);
  }
}

template <class T, bool Rotate>
__global__ void __launch_bounds__(kKvThreads) kv_rows_kernel(KvAssembly p) {
  const KvRow row = p.rows[blockIdx.x];
  if (row.source == kNoKvRow) return;
  const int row_values = p.shape.kv_heads * p.shape.width;
  const bool self = row.source >= 0;
  const int64_t k_at = self ? row.source * p.k_stride : static_cast<int64_t>(~row.source) * row_values,
                v_at = self ? row.source * p.v_stride : k_at, to = static_cast<int64_t>(blockIdx.x) * row_values;
  const T *k = static_cast<const T*>(self ? p.k : p.prefix_k) + k_at,
          *v = static_cast<const T*>(self ? p.v : p.prefix_v) + v_at;
  T *keys = static_cast<T*>(p.keys) + to, *values = static_cast<T*>(p.values) + to;
  copy_row(values, v, row_values);
  if (!Rotate || row.position < 0) {
    copy_row(keys, k, row_values);
    return;
  }
  const int64_t angle = static_cast<int64_t>(row.position) * (p.shape.width / 2);
  rotate_heads(keys, k, p.shape.kv_heads, p.shape.width, p.cos + angle, p.sin + angle, 1.0F);
  if (self) {
    rotate_heads(static_cast<T*>(p.q_out) + row.source * p.q_out_stride,
                 static_cast<const T*>(p.q) + row.source * p.q_stride, p.shape.heads, p.shape.width, p.cos + angle,
                 p.sin + angle, 1.0F);
  }
}

template <class T, bool Rotate>
__global__ void __launch_bounds__(kKvThreads) kv_rows_backward_kernel(KvAssemblyBackward p) {
  const KvRow row = p.rows[blockIdx.x];
  if (row.source < 0) return;
  const int row_values = p.shape.kv_heads * p.shape.width;
  const int64_t from = static_cast<int64_t>(blockIdx.x) * row_values;
  const T *dkeys = static_cast<const T*>(p.dkeys) + from, *dvalues = static_cast<const T*>(p.dvalues) + from;
  T *dk = static_cast<T*>(p.dk) + row.source * p.dk_stride, *dv = static_cast<T*>(p.dv) + row.source * p.dv_stride;
  copy_row(dv, dvalues, row_values);
  if (!Rotate) {
    copy_row(dk, dkeys, row_values);
    return;
  }
  const int64_t angle = static_cast<int64_t>(row.position) * (p.shape.width / 2);
  rotate_heads(dk, dkeys, p.shape.kv_heads, p.shape.width, p.cos + angle, p.sin + angle, -1.0F);
  rotate_heads(static_cast<T*>(p.dq) + row.source * p.dq_stride,
               static_cast<const T*>(p.dq_out) + row.source * p.dq_out_stride, p.shape.heads, p.shape.width,
               p.cos + angle, p.sin + angle, -1.0F);
}

template <class T>
int launch_kv_rows(const KvAssembly& p, void* stream) {
  const dim3 grid{static_cast<unsigned>(p.row_count), 1, 1}, block{kKvThreads, 1, 1};
  return p.cos != nullptr ? launch(kv_rows_kernel<T, true>, grid, block, 0, stream, p)
                          : launch(kv_rows_kernel<T, false>, grid, block, 0, stream, p);
}
template <class T>
int launch_kv_rows_backward(const KvAssemblyBackward& p, void* stream) {
  const dim3 grid{static_cast<unsigned>(p.row_count), 1, 1}, block{kKvThreads, 1, 1};
  return p.cos != nullptr ? launch(kv_rows_backward_kernel<T, true>, grid, block, 0, stream, p)
                          : launch(kv_rows_backward_kernel<T, false>, grid, block, 0, stream, p);
}

}  // namespace peft::cuda
