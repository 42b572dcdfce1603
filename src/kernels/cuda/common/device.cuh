#pragma once
/// What the kernels of this folder are written in: types, launches, shared memory and the tensor-core instructions. nvcc makes device code
/// of it; any other compiler makes the emulation of emulator.h, for tests. Kernels use nothing else that is CUDA's own.

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#else
#include "src/kernels/cuda/common/emulator.h"
#endif

#include <cstdint>
#include <cstring>

/// Registers cannot be indexed: loops over arrays of them must vanish. Others stay, where the loads that an unrolled loop brings forward
/// would take the registers that a second block needs.
#ifdef __CUDACC__
#define PEFT_UNROLL _Pragma("unroll")
#define PEFT_KEEP_LOOP _Pragma("unroll 1")
#else
#define PEFT_UNROLL
#define PEFT_KEEP_LOOP
#endif

namespace peft::cuda {

constexpr unsigned kAllLanes = 0xffffffffU;

#ifdef __CUDACC__
using bf16 = __nv_bfloat16;
using half = __half;
__device__ __forceinline__ float to_float(bf16 x) { return __bfloat162float(x); }
__device__ __forceinline__ float to_float(half x) { return __half2float(x); }
__device__ __forceinline__ bf16 to_bf16(float x) { return __float2bfloat16_rn(x); }
__device__ __forceinline__ half to_half(float x) { return __float2half_rn(x); }
#endif
__host__ __device__ __forceinline__ float to_float(float x) { return x; }

/// Rounded to nearest even.
template <class T>
__device__ __forceinline__ T from_float(float x);
template <>
__device__ __forceinline__ float from_float<float>(float x) {
  return x;
}
template <>
__device__ __forceinline__ bf16 from_float<bf16>(float x) {
  return to_bf16(x);
}
template <>
__device__ __forceinline__ half from_float<half>(float x) {
  return to_half(x);
}

/// The block's shared memory, 16-byte aligned; its size is the launch's. Kernels have no other.
template <class T>
__device__ __forceinline__ T* shared_memory() {
#ifdef __CUDACC__
  extern __shared__ __align__(16) unsigned char shared_bytes[];
  return reinterpret_cast<T*>(shared_bytes);
#else
  return reinterpret_cast<T*>(emulator::Block::current().shared());
#endif
}

/// Two 16-bit values in a register, the first in the lower half.
template <class T>
__device__ __forceinline__ uint32_t pack(T low, T high) {
  uint16_t a, b;
  memcpy(&a, &low, 2);
  memcpy(&b, &high, 2);
  return static_cast<uint32_t>(a) | (static_cast<uint32_t>(b) << 16);
}
template <class T>
__device__ __forceinline__ uint32_t pack_floats(float low, float high) {
  return pack<T>(from_float<T>(low), from_float<T>(high));
}
template <class T>
__device__ __forceinline__ float2 unpack(uint32_t pair) {
  const auto a = static_cast<uint16_t>(pair), b = static_cast<uint16_t>(pair >> 16);
  T low, high;
  memcpy(&low, &a, 2);
  memcpy(&high, &b, 2);
  return make_float2(to_float(low), to_float(high));
}
/// What rounding took from the two floats that became `pair`: of a left operand in both, 16 bits count in bfloat16, 22 in half (below 2^-13 fewer).
template <class T>
__device__ __forceinline__ uint32_t pack_remainder(uint32_t pair, float low, float high) {
  const float2 rounded = unpack<T>(pair);
  return pack_floats<T>(low - rounded.x, high - rounded.y);
}

/// Four 8x8 matrices of 16-bit values from shared memory: lane l gives the address of row l % 8 of matrix l / 8 (16 bytes, aligned) and
/// gets, of every matrix, elements (l / 4, 2 (l % 4)) and the next; transposed: (2 (l % 4), l / 4) and the one below.
__device__ __forceinline__ void load_matrices(uint32_t (&registers)[4], const void* row);
__device__ __forceinline__ void load_matrices_transposed(uint32_t (&registers)[4], const void* row);

/// C += A B, A 16x16 by rows, B 16x8 by columns, C 16x8 in float. With g = lane / 4 and t = lane % 4 a lane holds
///   a[0] = A(g, 2t..2t+1), a[1] = A(g+8, 2t..), a[2] = A(g, 2t+8..), a[3] = A(g+8, 2t+8..);  b[0] = B(2t..2t+1, g), b[1] = B(2t+8.., g);
///   c[0..1] = C(g, 2t..2t+1), c[2..3] = C(g+8, 2t..2t+1).
template <class T>
__device__ __forceinline__ void multiply(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);

/// 16 bytes from global to shared memory, both aligned, of which the first `valid` are read and the rest become zero.
__device__ __forceinline__ void copy_async(void* shared, const void* global, int valid = 16);
/// Closes the group of copies issued since the last one.
__device__ __forceinline__ void commit_copies();
/// Waits until at most the newest `Left` groups of this thread are under way. Other threads see them after a barrier.
template <int Left>
__device__ __forceinline__ void wait_copies();

#ifdef __CUDACC__

__device__ __forceinline__ unsigned shared_address(const void* p) {
  return static_cast<unsigned>(__cvta_generic_to_shared(p));
}

__device__ __forceinline__ void load_matrices(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
__device__ __forceinline__ void load_matrices_transposed(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
template <>
__device__ __forceinline__ void multiply<bf16>(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <>
__device__ __forceinline__ void multiply<half>(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ __forceinline__ void copy_async(void* shared, const void* global, int valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(valid)
               : "memory");
}
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int Left>
__device__ __forceinline__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Left) : "memory");
}

/// 0, or CUDA's error of the launch.
template <class... Parameters, class... Arguments>
int launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes, void* stream,
           Arguments... arguments) {
  if (shared_bytes > 48 * 1024) {
    const cudaError_t error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
    if (error != cudaSuccess) return static_cast<int>(error);
  }
  kernel<<<grid, block, shared_bytes, static_cast<cudaStream_t>(stream)>>>(arguments...);
  return static_cast<int>(cudaGetLastError());
}

#else

namespace emulator {
inline void load_matrices(uint32_t (&r)[4], const void* row, const char* call, bool transposed) {
  Block& block = Block::current();
  block.deposit(call, row);
  const int g = block.lane() / 4, t = block.lane() % 4;
  for (int matrix = 0; matrix < 4; ++matrix) {
    const auto at = [&](int i, int j) {
      const auto* values = static_cast<const uint16_t*>(block.read<const void*>(8 * matrix + i));
      if (reinterpret_cast<std::uintptr_t>(values) % 16 != 0)
        throw std::logic_error("emulator: a row of load_matrices is not aligned");
      return static_cast<uint32_t>(values[j]);
    };
    r[matrix] = transposed ? at(2 * t, g) | at(2 * t + 1, g) << 16 : at(g, 2 * t) | at(g, 2 * t + 1) << 16;
  }
  block.deposit(call, 0);  // no lane writes the rows before all have read them
}
template <class T>
void multiply(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  struct Operands {
    uint32_t a[4], b[2];
  };
  Block& block = Block::current();
  block.deposit("multiply", Operands{{a[0], a[1], a[2], a[3]}, {b0, b1}});
  const int g = block.lane() / 4, t = block.lane() % 4;
  for (int i = 0; i < 4; ++i) {
    const int row = g + 8 * (i / 2), column = 2 * t + i % 2;
    float sum = c[i];
    for (int k = 0; k < 16; k += 2) {
      const Operands& of_a = block.read<Operands>(4 * (row % 8) + k % 8 / 2);
      const Operands& of_b = block.read<Operands>(4 * column + k % 8 / 2);
      const float2 x = unpack<T>(of_a.a[row / 8 + 2 * (k / 8)]), y = unpack<T>(of_b.b[k / 8]);
      sum += x.x * y.x + x.y * y.y;
    }
    c[i] = sum;
  }
}
}  // namespace emulator

inline void load_matrices(uint32_t (&r)[4], const void* row) {
  emulator::load_matrices(r, row, "load_matrices", false);
}
inline void load_matrices_transposed(uint32_t (&r)[4], const void* row) {
  emulator::load_matrices(r, row, "load_matrices_transposed", true);
}
template <>
inline void multiply<bf16>(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  emulator::multiply<bf16>(c, a, b0, b1);
}
template <>
inline void multiply<half>(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  emulator::multiply<half>(c, a, b0, b1);
}
inline void copy_async(void* shared, const void* global, int valid) {
  emulator::Block::current().copy({shared, global, 16, static_cast<std::size_t>(valid)});
}
inline void commit_copies() { emulator::Block::current().commit(); }
template <int Left>
void wait_copies() {
  emulator::Block::current().wait(Left);
}
template <class... Parameters, class... Arguments>
int launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes, void*,
           Arguments... arguments) {
  emulator::launch(grid, block, shared_bytes, [&] { kernel(arguments...); });
  return 0;
}

#endif

/// Sum over the lanes of a warp, in every lane, in one order.
__device__ __forceinline__ float warp_sum(float x) {
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(kAllLanes, x, step);
  return x;
}
__device__ __forceinline__ float warp_max(float x) {
  for (int step = 16; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, step));
  return x;
}

}  // namespace peft::cuda
