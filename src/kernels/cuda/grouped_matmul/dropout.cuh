#pragma once
/// Named dropout (common/dropout.h) on tiles in shared memory. The scale of what is kept is left to the product's factor: the tile's values
/// stay exact, and nothing is rounded twice.

#include "src/kernels/cuda/grouped_matmul/api.h"
#include "src/kernels/cuda/grouped_matmul/tile.cuh"

namespace peft::cuda {

/// Clears what the mask drops in the pieces that this thread copied with load_tile<T, Rows, Columns>: those it may read without a barrier.
/// The tile's first value is (row0, column0); its first `rows` rows exist.
template <class T, int Rows, int Columns>
__device__ __forceinline__ void drop_own_pieces(T* tile, const NamedDropout& dropout, int row0, int rows, int column0) {
  constexpr int kPieces = Columns / kPiece;
  for (int i = static_cast<int>(threadIdx.x); i < Rows * kPieces; i += kGroupThreads) {
    const int row = i / kPieces, column = i % kPieces * kPiece;
    if (row >= rows) continue;
    MaskChunk mask = RowMask(dropout, row0 + row).chunk((column0 + column) / kPiece);
    mask.scale = 1.0F;
    T* at = tile + row * pitch<T>(Columns) + column;
    Piece<T> piece = load_piece(at);
    for (int j = 0; j < kPiece; ++j) piece.values[j] = from_float<T>(mask.apply(j, to_float(piece.values[j])));
    store_piece(at, piece);
  }
}

/// What the sums of a group are multiplied by: its scale and, where x is dropped, that of what is kept.
__device__ __forceinline__ float group_factor(const float* scale, const NamedDropout& dropout, int group) {
  return (scale != nullptr ? scale[group] : 1.0F) * (dropout.streams != nullptr ? dropout.streams[group].scale : 1.0F);
}

}  // namespace peft::cuda
