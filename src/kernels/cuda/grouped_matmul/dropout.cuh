#pragma once
/// The masks of peft/kernels/dropout.h on the device: a function of (key of site and adapter, step, ordinal, position, column), so every
/// kernel draws them anew and none is stored. A Philox4x32-10 block [Salmon et al. 2011] decides eight columns, 16 bits each.

#include "src/kernels/cuda/grouped_matmul/api.h"
#include "src/kernels/cuda/grouped_matmul/tile.cuh"

namespace peft::cuda {

/// Bit j: column 8 piece + j of the row is kept.
__device__ __forceinline__ uint32_t kept_columns(const DropoutAdapter& adapter, uint32_t position, uint32_t ordinal,
                                                 uint32_t piece) {
  uint32_t c0 = piece, c1 = position, c2 = ordinal, c3 = adapter.step, k0 = adapter.key[0], k1 = adapter.key[1];
  PEFT_UNROLL
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53U} * c0, b = uint64_t{0xCD9E8D57U} * c2;
    c0 = static_cast<uint32_t>(b >> 32) ^ c1 ^ k0;
    c1 = static_cast<uint32_t>(b);
    c2 = static_cast<uint32_t>(a >> 32) ^ c3 ^ k1;
    c3 = static_cast<uint32_t>(a);
    k0 += 0x9E3779B9U;
    k1 += 0xBB67AE85U;
  }
  const uint32_t words[4] = {c0, c1, c2, c3};
  uint32_t kept = 0;
  for (int j = 0; j < kPiece; ++j) {
    const uint32_t draw = j % 2 == 0 ? words[j / 2] & 0xffffU : words[j / 2] >> 16;
    kept |= (draw >= adapter.limit ? 1U : 0U) << j;
  }
  return kept;
}
__device__ __forceinline__ uint32_t kept_columns(const GroupDropout& dropout, int group, int row, int column) {
  return kept_columns(dropout.adapters[group], static_cast<uint32_t>(dropout.position[row]),
                      static_cast<uint32_t>(dropout.ordinal[row]), static_cast<uint32_t>(column / kPiece));
}

/// Drops elements of the pieces that this thread copied with load_tile<T, Rows, Columns>: those it may read without a barrier.
template <class T, int Rows, int Columns>
__device__ __forceinline__ void drop_own_pieces(T* tile, const GroupDropout& dropout, int group, int row0, int rows,
                                                int column0) {
  constexpr int kPieces = Columns / kPiece;
  const DropoutAdapter adapter = dropout.adapters[group];
  for (int i = static_cast<int>(threadIdx.x); i < Rows * kPieces; i += kGroupThreads) {
    const int row = i / kPieces, column = i % kPieces * kPiece;
    if (row >= rows) continue;
    const uint32_t kept = kept_columns(adapter, static_cast<uint32_t>(dropout.position[row0 + row]),
                                       static_cast<uint32_t>(dropout.ordinal[row0 + row]),
                                       static_cast<uint32_t>((column0 + column) / kPiece));
    T* at = tile + row * pitch<T>(Columns) + column;
    Piece<T> piece = load_piece(at);
    for (int j = 0; j < kPiece; ++j) {
      if ((kept >> j & 1U) == 0) piece.values[j] = from_float<T>(0.0F);
    }
    store_piece(at, piece);
  }
}

/// What a group's results are multiplied by: its scale and, where there is dropout, that of the kept elements.
__device__ __forceinline__ float group_factor(const float* scale, const GroupDropout& dropout, int group) {
  return (scale != nullptr ? scale[group] : 1.0F) *
         (dropout.adapters != nullptr ? dropout.adapters[group].scale : 1.0F);
}

}  // namespace peft::cuda
