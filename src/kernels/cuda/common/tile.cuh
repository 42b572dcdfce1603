#pragma once
/// Tiles: some rows of 16-bit values in shared memory, and how they become operands of `multiply`.
///
/// A row of `width` values takes width + 8 of them in memory. The 16 bytes more put any eight consecutive rows on all 32 banks, for every
/// width that is a multiple of 16, so load_matrices has no conflicts; they are also room for one more column.

#include "src/kernels/cuda/common/device.cuh"
#include "src/kernels/cuda/common/row_items.h"

namespace peft::cuda {

__host__ __device__ constexpr int tile_stride(int width) { return width + 8; }
__host__ __device__ constexpr int tile_values(int rows, int width) { return rows * tile_stride(width); }

/// Head `head` of a [T,H,D] argument, from row `row` on.
template <class T>
__device__ __forceinline__ T* rows_of(const HeadRows& rows, int64_t row, int head) {
  return static_cast<T*>(rows.data) + row * rows.row_stride + head * rows.head_stride;
}

/// Begins to copy `kRows` rows; those from `rows` on become zero. The caller commits. All threads of the block.
template <int kRows, int kWidth, int kThreads, class T>
__device__ __forceinline__ void copy_tile(T* tile, const T* global, int64_t stride, int rows) {
  constexpr int kPieces = kWidth / 8;
  PEFT_KEEP_LOOP  // else the places of all pieces stay in registers, over the caller's loop over tiles
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kPieces; i += kThreads) {
    const int row = i / kPieces, column = 8 * (i % kPieces);
    const bool inside = row < rows;
    copy_async(tile + row * tile_stride(kWidth) + column, global + (inside ? row * stride : 0) + column,
               inside ? 16 : 0);
  }
}

/// Begins to copy `count` values, a multiple of 8, as they are.
template <int kThreads, class T>
__device__ __forceinline__ void copy_values(T* shared, const T* global, int count) {
  for (int i = 8 * static_cast<int>(threadIdx.x); i < count; i += 8 * kThreads) copy_async(shared + i, global + i);
}

/// Writes the first `rows` rows; thread `thread` of `threads` that share the work.
template <int kWidth, class T>
__device__ __forceinline__ void store_tile(T* global, int64_t stride, const T* tile, int rows, int thread,
                                           int threads) {
  constexpr int kPieces = kWidth / 8;
  for (int i = thread; i < rows * kPieces; i += threads) {
    const int row = i / kPieces, column = 8 * (i % kPieces);
    *reinterpret_cast<uint4*>(global + row * stride + column) =
        *reinterpret_cast<const uint4*>(tile + row * tile_stride(kWidth) + column);
  }
}

/// A(i, k) = tile[row + i][column + k], 16x16.
template <int kWidth, class T>
__device__ __forceinline__ void load_a(uint32_t (&a)[4], const T* tile, int row, int column, int lane) {
  load_matrices(a, tile + (row + lane % 16) * tile_stride(kWidth) + column + 8 * (lane / 16));
}
/// A(i, k) = tile[row + k][column + i], 16x16.
template <int kWidth, class T>
__device__ __forceinline__ void load_a_transposed(uint32_t (&a)[4], const T* tile, int row, int column, int lane) {
  load_matrices_transposed(
      a, tile + (row + lane % 8 + 8 * (lane / 16)) * tile_stride(kWidth) + column + 8 * (lane / 8 % 2));
}
/// B(k, j) = tile[row + j][column + k], 16x16: b[0..1] for the columns j < 8, b[2..3] for the rest.
template <int kWidth, class T>
__device__ __forceinline__ void load_b(uint32_t (&b)[4], const T* tile, int row, int column, int lane) {
  load_matrices(b, tile + (row + lane % 8 + 8 * (lane / 16)) * tile_stride(kWidth) + column + 8 * (lane / 8 % 2));
}
/// B(k, j) = tile[row + k][column + j], 16x16.
template <int kWidth, class T>
__device__ __forceinline__ void load_b_transposed(uint32_t (&b)[4], const T* tile, int row, int column, int lane) {
  load_matrices_transposed(b, tile + (row + lane % 16) * tile_stride(kWidth) + column + 8 * (lane / 16));
}
/// The same, 16x8: b[0..1] alone are of use.
template <int kWidth, class T>
__device__ __forceinline__ void load_b_transposed_half(uint32_t (&b)[4], const T* tile, int row, int column, int lane) {
  load_matrices_transposed(b, tile + (row + lane % 16) * tile_stride(kWidth) + column);
}

/// Sum over the four lanes that hold one row of a 16x8 result.
__device__ __forceinline__ float row_sum(float x) {
  x += __shfl_xor_sync(kAllLanes, x, 1);
  return x + __shfl_xor_sync(kAllLanes, x, 2);
}

}  // namespace peft::cuda
