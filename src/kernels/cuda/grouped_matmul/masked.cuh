#pragma once
/// The masked dense form (K rank <= 128): masked_scale and row_dropout; formulas and layouts in api.h.
///
/// One thread of 256 for eight values of a row, 16-byte accesses; masked_scale finds the row's group by binary search in group_rows, which
/// stays in L1. No shared memory, no barrier. Memory bound: every value is read once and written once.

#include "src/kernels/cuda/common/piece.cuh"
#include "src/kernels/cuda/grouped_matmul/api.h"

namespace peft::cuda {

constexpr int kMaskThreads = 256;

/// -1: the row has none. With empty groups: the last of those that begin at or before the row, which is the one that holds it.
__device__ __forceinline__ int group_of_row(const int32_t* group_rows, int groups, int row) {
  int low = 0, high = groups + 1;  // offsets before low are <= row, those from high on are > row
  while (low < high) {
    const int middle = (low + high) / 2;
    if (group_rows[middle] <= row)
      low = middle + 1;
    else
      high = middle;
  }
  return low <= groups ? low - 1 : -1;
}

template <class T>
__global__ void __launch_bounds__(kMaskThreads) masked_scale_kernel(MaskedScale p) {
  const int pieces = p.groups * p.rank / kPiece;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kMaskThreads + threadIdx.x;
  if (i >= static_cast<int64_t>(p.rows) * pieces) return;
  const int row = static_cast<int>(i / pieces), column = static_cast<int>(i % pieces) * kPiece;
  const int group = group_of_row(p.group_rows, p.groups, row);
  const float scale = group < 0 ? 0.0F : p.scale != nullptr ? p.scale[group] : 1.0F;
  Piece<T> piece = load_piece(static_cast<const T*>(p.z) + row * p.z_stride + column);
  for (int j = 0; j < kPiece; ++j) {
    const bool own = (column + j) / p.rank == group;  // select: what other adapters made of this row may be infinite
    piece.values[j] = from_float<T>(own ? scale * to_float(piece.values[j]) : 0.0F);
  }
  store_piece(static_cast<T*>(p.out) + row * p.out_stride + column, piece);
}

template <class T>
__global__ void __launch_bounds__(kMaskThreads) row_dropout_kernel(RowDropout p) {
  const int pieces = p.wide / kPiece;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kMaskThreads + threadIdx.x;
  if (i >= static_cast<int64_t>(p.rows) * pieces) return;
  const int row = static_cast<int>(i / pieces), piece = static_cast<int>(i % pieces);
  T* y = static_cast<T*>(p.y) + row * p.y_stride + piece * kPiece;
  const Piece<T> x = load_piece(static_cast<const T*>(p.x) + row * p.x_stride + piece * kPiece);
  const MaskChunk mask = RowMask(p.dropout, row).chunk(piece);
  Piece<T> out = p.accumulate ? load_piece(y) : x;
  for (int j = 0; j < kPiece; ++j) {
    const float add = mask.apply(j, to_float(x.values[j]));
    out.values[j] = from_float<T>(p.accumulate ? to_float(out.values[j]) + add : add);
  }
  store_piece(y, out);
}

inline dim3 mask_grid(int64_t rows, int64_t pieces) {
  return {static_cast<unsigned>((rows * pieces + kMaskThreads - 1) / kMaskThreads), 1, 1};
}
template <class T>
int launch_masked_scale(const MaskedScale& p, void* stream) {
  return launch(masked_scale_kernel<T>, mask_grid(p.rows, p.groups * p.rank / kPiece), dim3{kMaskThreads, 1, 1}, 0,
                stream, p);
}
template <class T>
int launch_row_dropout(const RowDropout& p, void* stream) {
  return launch(row_dropout_kernel<T>, mask_grid(p.rows, p.wide / kPiece), dim3{kMaskThreads, 1, 1}, 0, stream, p);
}

}  // namespace peft::cuda
