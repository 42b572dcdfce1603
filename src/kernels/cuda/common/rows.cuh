#pragma once
/// Rows of C values, C a multiple of 8, held in the registers of one group of threads: a warp (C <= 1024, four rows a block) or a block
/// of 256 threads (C <= 8192). Thread i of a group has chunks i, i + Threads, ... of eight values, read and written 16 bytes at a time.

#include <type_traits>

#include "src/kernels/cuda/common/device.cuh"
#include "src/kernels/cuda/common/element.h"

namespace peft::cuda {

constexpr int kChunk = 8;
constexpr int kWarp = 32;
constexpr int kRowBlock = 256;
constexpr int kWarpsPerBlock = 4;
constexpr int kMaxChunks = 4;  ///< of a thread
constexpr int kWarpColumns = kWarp * kMaxChunks * kChunk;
constexpr int kBlockColumns = kRowBlock * kMaxChunks * kChunk;

/// Eight values as memory holds them.
template <class T>
struct Packed {
  static constexpr int kVectors = sizeof(T) / 2;
  uint4 vectors[kVectors];

  static __device__ __forceinline__ Packed load(const T* from) {
    Packed p;
    for (int i = 0; i < kVectors; ++i) p.vectors[i] = reinterpret_cast<const uint4*>(from)[i];
    return p;
  }
  __device__ __forceinline__ void store(T* to) const {
    for (int i = 0; i < kVectors; ++i) reinterpret_cast<uint4*>(to)[i] = vectors[i];
  }
};

template <class T>
__device__ __forceinline__ void unpack_chunk(const Packed<T>& p, float (&x)[kChunk]) {
  if constexpr (sizeof(T) == 4) {
    memcpy(x, p.vectors, sizeof(x));
    return;
  }
  const uint32_t words[4] = {p.vectors[0].x, p.vectors[0].y, p.vectors[0].z, p.vectors[0].w};
  for (int i = 0; i < 4; ++i) {
    const float2 pair = unpack<T>(words[i]);
    x[2 * i] = pair.x;
    x[2 * i + 1] = pair.y;
  }
}
template <class T>
__device__ __forceinline__ Packed<T> pack_chunk(const float (&x)[kChunk]) {
  if constexpr (sizeof(T) == 4) {
    Packed<T> p;
    memcpy(p.vectors, x, sizeof(x));
    return p;
  } else {
    return {{{pack_floats<T>(x[0], x[1]), pack_floats<T>(x[2], x[3]), pack_floats<T>(x[4], x[5]),
              pack_floats<T>(x[6], x[7])}}};
  }
}

template <class T>
__device__ __forceinline__ void load_chunk(const T* from, float (&x)[kChunk]) {
  unpack_chunk(Packed<T>::load(from), x);
}
template <class T>
__device__ __forceinline__ void store_chunk(T* to, const float (&x)[kChunk]) {
  pack_chunk<T>(x).store(to);
}

/// Number of the calling thread's group in the grid, and of the thread in its group.
template <int Threads>
__device__ __forceinline__ int64_t group_index() {
  if constexpr (Threads == kWarp) return static_cast<int64_t>(blockIdx.x) * kWarpsPerBlock + threadIdx.x / kWarp;
  return blockIdx.x;
}
template <int Threads>
__device__ __forceinline__ int group_thread() {
  return static_cast<int>(threadIdx.x) % Threads;
}
template <int Threads>
constexpr int group_block() {
  return Threads == kWarp ? kWarp * kWarpsPerBlock : Threads;
}
template <int Threads>
dim3 group_grid(int64_t groups) {
  return {static_cast<unsigned>(Threads == kWarp ? (groups + kWarpsPerBlock - 1) / kWarpsPerBlock : groups), 1, 1};
}

/// Floats of shared memory that one group_sum of N numbers uses.
template <int Threads>
constexpr int group_sum_floats(int n) {
  return Threads == kWarp ? 0 : n * Threads / kWarp;
}

/// Sums over the group, in every thread, in one order. One barrier: `scratch` is not written again before another one.
template <int Threads, int N>
__device__ __forceinline__ void group_sum(float (&sums)[N], float* scratch) {
  for (int i = 0; i < N; ++i) sums[i] = warp_sum(sums[i]);
  if constexpr (Threads > kWarp) {
    const int warp = static_cast<int>(threadIdx.x) / kWarp;
    if (threadIdx.x % kWarp == 0) {
      for (int i = 0; i < N; ++i) scratch[warp * N + i] = sums[i];
    }
    __syncthreads();
    for (int i = 0; i < N; ++i) {
      sums[i] = 0.0F;
      for (int w = 0; w < Threads / kWarp; ++w) sums[i] += scratch[w * N + i];
    }
  }
}

/// Thread 0's value in every thread. One barrier, as group_sum.
template <int Threads>
__device__ __forceinline__ float group_first(float x, float* scratch) {
  if constexpr (Threads == kWarp) return __shfl_sync(kAllLanes, x, 0);
  if (threadIdx.x == 0) *scratch = x;
  __syncthreads();
  return *scratch;
}

/// First column of a thread's chunk i.
template <int Threads>
__device__ __forceinline__ int chunk_column(int i) {
  return kChunk * (group_thread<Threads>() + i * Threads);
}

/// Calls run(std::integral_constant<int, chunks>()) with the fewest chunks a thread that hold `columns`.
template <int Threads, class Run>
int with_chunks(int columns, const Run& run) {
  const int chunks = (columns + Threads * kChunk - 1) / (Threads * kChunk);
  if (chunks <= 1) return run(std::integral_constant<int, 1>());
  if (chunks == 2) return run(std::integral_constant<int, 2>());
  if (chunks == 3) return run(std::integral_constant<int, 3>());
  return run(std::integral_constant<int, kMaxChunks>());
}

template <class T>
struct ElementType {
  using type = T;
};

/// Calls run(ElementType<T>()).
template <class Run>
int with_element(Element element, const Run& run) {
  if (element == Element::bfloat16) return run(ElementType<bf16>());
  if (element == Element::float16) return run(ElementType<half>());
  return run(ElementType<float>());
}

constexpr int kInvalidValue = 1;  ///< CUDA's number of the error

/// Calls run(ElementType<T>(), std::integral_constant<int, threads>()) with the threads that share a row of `columns`; kInvalidValue
/// where no instance serves them.
template <class Run>
int with_row_instance(int columns, Element element, const Run& run) {
  if (columns % kChunk != 0 || columns > kBlockColumns) return kInvalidValue;
  return with_element(element, [&](auto type) {
    return columns <= kWarpColumns ? run(type, std::integral_constant<int, kWarp>())
                                   : run(type, std::integral_constant<int, kRowBlock>());
  });
}

}  // namespace peft::cuda
