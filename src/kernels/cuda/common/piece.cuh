#pragma once
/// Eight neighbouring values of a row: what one thread moves at a time, in 16-byte accesses.

#include "src/kernels/cuda/common/device.cuh"

namespace peft::cuda {

constexpr int kPiece = 8;

template <class T>
struct Piece {
  T values[kPiece];
};

/// From and to 16-byte aligned memory, shared or global: one access for 16-bit types, two for float.
template <class T>
__device__ __forceinline__ Piece<T> load_piece(const T* from) {
  Piece<T> piece;
  uint4 words[sizeof(piece) / 16];
  for (unsigned i = 0; i < sizeof(piece) / 16; ++i) words[i] = reinterpret_cast<const uint4*>(from)[i];
  memcpy(&piece, words, sizeof(piece));
  return piece;
}
template <class T>
__device__ __forceinline__ void store_piece(T* to, const Piece<T>& piece) {
  uint4 words[sizeof(piece) / 16];
  memcpy(words, &piece, sizeof(piece));
  for (unsigned i = 0; i < sizeof(piece) / 16; ++i) reinterpret_cast<uint4*>(to)[i] = words[i];
}

}  // namespace peft::cuda
