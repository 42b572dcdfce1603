#pragma once
/// Element-wise work on [rows, columns]: a thread has eight columns of two rows, so that enough reads are under way to hide their
/// latency; a block of 128 threads has 1024 columns. Rows lie along grid.x, which alone takes more than 65535 blocks.

#include "src/kernels/cuda/common/rows.cuh"

namespace peft::cuda {

constexpr int kTileThreads = 128;
constexpr int kTileRows = 2;

__device__ __forceinline__ int tile_column() {
  return kChunk * static_cast<int>(blockIdx.y * kTileThreads + threadIdx.x);
}
__device__ __forceinline__ int64_t tile_row(int i) { return static_cast<int64_t>(blockIdx.x) * kTileRows + i; }

inline dim3 tile_grid(int64_t rows, int32_t columns) {
  return {static_cast<unsigned>((rows + kTileRows - 1) / kTileRows),
          static_cast<unsigned>((columns + kChunk * kTileThreads - 1) / (kChunk * kTileThreads)), 1};
}

/// Eight columns of the rows [0, rows) of a tile; `stride` in elements.
template <class T>
__device__ __forceinline__ void load_tile(Packed<T> (&tile)[kTileRows], const void* from, int64_t stride,
                                          int64_t rows) {
  PEFT_UNROLL
  for (int i = 0; i < kTileRows; ++i) {
    if (tile_row(i) < rows)
      tile[i] = Packed<T>::load(static_cast<const T*>(from) + tile_row(i) * stride + tile_column());
  }
}
template <class T>
__device__ __forceinline__ void store_tile_row(void* to, int64_t stride, int i, const float (&x)[kChunk]) {
  store_chunk(static_cast<T*>(to) + tile_row(i) * stride + tile_column(), x);
}

}  // namespace peft::cuda
