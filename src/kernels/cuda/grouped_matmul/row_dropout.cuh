#pragma once
/// row_dropout; formula and layout in api.h.
///
/// One thread of 256 for eight values of a row, 16-byte accesses. No shared memory, no barrier. Memory bound: every value is read once and
/// written once.

#include "src/kernels/cuda/common/piece.cuh"
#include "src/kernels/cuda/grouped_matmul/api.h"

namespace peft::cuda {

constexpr int kDropoutThreads = 256;

template <class T>
__global__ void __launch_bounds__(kDropoutThreads) row_dropout_kernel(RowDropout p) {
  const int pieces = p.wide / kPiece;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kDropoutThreads + threadIdx.x;
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

template <class T>
int launch_row_dropout(const RowDropout& p, void* stream) {
  const int64_t pieces = static_cast<int64_t>(p.rows) * (p.wide / kPiece);
  const dim3 grid{static_cast<unsigned>((pieces + kDropoutThreads - 1) / kDropoutThreads), 1, 1};
  return launch(row_dropout_kernel<T>, grid, dim3{kDropoutThreads, 1, 1}, 0, stream, p);
}

}  // namespace peft::cuda
