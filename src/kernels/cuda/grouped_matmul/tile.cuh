#pragma once
/// Tiles in shared memory and their products, for 16-bit types on tensor cores and for float on scalar units with the same ownership of
/// results: kernels are written once.
///
/// All widths are given in bytes: a row of a step is 128 bytes, a depth 32 bytes, i.e. 64 and 16 values of 16 bits, 32 and 8 floats.
/// A tile's rows are 16 bytes longer than their values: the eight rows of a matrix, 16 bytes each, lie in different banks.

#include "src/kernels/cuda/common/piece.cuh"

namespace peft::cuda {

constexpr int kGroupThreads = 128;

template <class T>
constexpr int kStep = 128 / static_cast<int>(sizeof(T));
template <class T>
constexpr int kDepth = 32 / static_cast<int>(sizeof(T));
/// Values from one row of a tile to the next.
template <class T>
__host__ __device__ constexpr int pitch(int width) {
  return width + 16 / static_cast<int>(sizeof(T));
}

/// Rows x Columns values to a tile, of which the first `rows` and `columns`, the latter in whole pieces, exist; the others become zero.
template <class T, int Rows, int Columns>
__device__ __forceinline__ void load_tile(T* tile, const T* from, int64_t stride, int rows, int columns) {
  constexpr int kPieces = Columns / kPiece, kWords = kPiece * static_cast<int>(sizeof(T)) / 16;
  for (int i = static_cast<int>(threadIdx.x); i < Rows * kPieces; i += kGroupThreads) {
    const int row = i / kPieces, column = i % kPieces * kPiece;
    const bool valid = row < rows && column < columns;
    const T* source = valid ? from + row * stride + column : from;
    T* target = tile + row * pitch<T>(Columns) + column;
    for (int w = 0; w < kWords; ++w)
      copy_async(target + w * kPiece / kWords, source + w * kPiece / kWords, valid ? 16 : 0);
  }
}

/// The same for rows of any length, which begin at any value: a factor [wide, rank] with a rank that is not a multiple of 8. Not
/// asynchronous.
template <class T, int Rows, int Columns>
__device__ __forceinline__ void load_odd_tile(T* tile, const T* from, int columns_of_source, int rows) {
  for (int i = static_cast<int>(threadIdx.x); i < Rows * Columns; i += kGroupThreads) {
    const int row = i / Columns, column = i % Columns;
    const bool valid = row < rows && column < columns_of_source;
    tile[row * pitch<T>(Columns) + column] = valid ? from[row * columns_of_source + column] : from_float<T>(0.0F);
  }
}

/// How a tile lies: as the product counts its rows and columns, or its transpose.
enum class Order { as_counted, transposed };

/// C += A B over one depth. A warp holds MT x NT tiles of 16 x 8, in the fragments of `multiply`. a and b point at its first row and
/// column of this depth: A(m, k) at a[m a_pitch + k] or, transposed, a[k a_pitch + m]; B(k, n) at b[k b_pitch + n] or b[n b_pitch + k].
template <Order A, Order B, class T, int MT, int NT>
__device__ __forceinline__ void multiply_depth(float (&c)[MT][NT][4], const T* a, int a_pitch, const T* b,
                                               int b_pitch) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  if constexpr (sizeof(T) == 2) {
    static_assert(NT % 2 == 0);
    const int low = lane % 8, odd = lane / 8 % 2 * 8, upper = lane / 16 * 8;
    uint32_t of_a[MT][4];
    PEFT_UNROLL
    for (int m = 0; m < MT; ++m) {
      if constexpr (A == Order::as_counted)
        load_matrices(of_a[m], a + (16 * m + odd + low) * a_pitch + upper);
      else
        load_matrices_transposed(of_a[m], a + (upper + low) * a_pitch + 16 * m + odd);
    }
    PEFT_UNROLL
    for (int n = 0; n < NT; n += 2) {
      uint32_t of_b[4];
      if constexpr (B == Order::as_counted)
        load_matrices_transposed(of_b, b + (odd + low) * b_pitch + 8 * n + upper);
      else
        load_matrices(of_b, b + (8 * n + upper + low) * b_pitch + odd);
      PEFT_UNROLL
      for (int m = 0; m < MT; ++m) {
        multiply<T>(c[m][n], of_a[m], of_b[0], of_b[1]);
        multiply<T>(c[m][n + 1], of_a[m], of_b[2], of_b[3]);
      }
    }
  } else {
    const int g = lane / 4, t = lane % 4;
    for (int k = 0; k < kDepth<T>; ++k) {
      float of_a[MT][2], of_b[NT][2];
      PEFT_UNROLL
      for (int m = 0; m < MT; ++m) {
        PEFT_UNROLL
        for (int i = 0; i < 2; ++i) {
          const int row = 16 * m + 8 * i + g;
          of_a[m][i] = A == Order::as_counted ? a[row * a_pitch + k] : a[k * a_pitch + row];
        }
      }
      PEFT_UNROLL
      for (int n = 0; n < NT; ++n) {
        PEFT_UNROLL
        for (int j = 0; j < 2; ++j) {
          const int column = 8 * n + 2 * t + j;
          of_b[n][j] = B == Order::as_counted ? b[k * b_pitch + column] : b[column * b_pitch + k];
        }
      }
      PEFT_UNROLL
      for (int m = 0; m < MT; ++m) {
        PEFT_UNROLL
        for (int n = 0; n < NT; ++n) {
          for (int i = 0; i < 4; ++i) c[m][n][i] += of_a[m][i / 2] * of_b[n][i % 2];
        }
      }
    }
  }
}

/// visit(row, column, first, second) for every pair of neighbouring results that the lane holds.
template <int MT, int NT, class Visit>
__device__ __forceinline__ void for_each_pair(const float (&c)[MT][NT][4], const Visit& visit) {
  const int g = static_cast<int>(threadIdx.x % 32) / 4, t = static_cast<int>(threadIdx.x % 32) % 4;
  PEFT_UNROLL
  for (int m = 0; m < MT; ++m) {
    PEFT_UNROLL
    for (int n = 0; n < NT; ++n) {
      visit(16 * m + g, 8 * n + 2 * t, c[m][n][0], c[m][n][1]);
      visit(16 * m + g + 8, 8 * n + 2 * t, c[m][n][2], c[m][n][3]);
    }
  }
}

}  // namespace peft::cuda
