#pragma once
/// bank_adamw: formula and layouts in api.h.
///
/// Launch 1, one block of 256 threads a chunk: the chunk's sum of squares -> partial[chunk]. The block of a job's first chunk copies the
/// job's counters, which launch 2 changes while others still read them.
/// Launch 2, one block a chunk: every block adds the partial sums of its job in the same order, then steps its 4,096 elements with 16-byte
/// accesses (one by one in segments of odd lengths, wherever they lie: sums have the same order alone and in a bank). 38 bytes an element:
/// 3 reads and 3 writes of float, the zeroed gradient, the bfloat16 copy.
/// Shared memory: 8 floats (launch 1), 8 doubles (launch 2), one a warp, and the step's seven scalars. Two and three barriers.

#include "src/kernels/cuda/bank_adamw/api.h"
#include "src/kernels/cuda/common/device.cuh"

namespace peft::cuda {

constexpr int kAdamThreads = 256;

/// Sum over the block in a fixed order, in every thread. `scratch`: one value a warp.
template <class T>
__device__ __forceinline__ T block_sum(T x, T* scratch) {
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(kAllLanes, x, step);
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
  __syncthreads();
  T sum = 0;
  for (unsigned w = 0; w < blockDim.x / 32; ++w) sum += scratch[w];
  __syncthreads();
  return sum;
}

/// Groups of four elements with 16-byte accesses.
__device__ __forceinline__ int fours(const AdamChunk& chunk, const AdamSegment& segment) {
  return segment.count % 4 == 0 ? chunk.count / 4 : 0;
}

inline __global__ void __launch_bounds__(kAdamThreads) adam_norms(BankAdamW bank) {
  const AdamChunk chunk = bank.chunks[blockIdx.x];
  if (!bank.jobs[chunk.job].active) return;
  const float* g = bank.gradients + chunk.offset;
  const int thread = static_cast<int>(threadIdx.x), whole = fours(chunk, bank.segments[chunk.segment]);
  float sum = 0.0F;
  for (int i = thread; i < whole; i += kAdamThreads) {
    const float4 x = reinterpret_cast<const float4*>(g)[i];
    sum += x.x * x.x + x.y * x.y + x.z * x.z + x.w * x.w;
  }
  for (int i = 4 * whole + thread; i < chunk.count; i += kAdamThreads) sum += g[i] * g[i];
  sum = block_sum(sum, shared_memory<float>());
  if (thread != 0) return;
  bank.partial[blockIdx.x] = sum;
  if (static_cast<int>(blockIdx.x) == bank.first_chunk[chunk.job]) bank.before[chunk.job] = bank.counters[chunk.job];
}

struct AdamScalars {
  float decay, b1, b2, scale, rate, root, epsilon;  // b: 1 - beta
};

__device__ __forceinline__ AdamScalars adam_scalars(const AdamJob& job, const AdamSegment& segment,
                                                    const AdamCounters& before, double norm) {
  const double rate =
      static_cast<double>(segment.learning_rate) * schedule_factor(job.schedule, before.step, job.warmup, job.total);
  const double t = static_cast<double>(before.updates + 1), beta1 = job.beta1, beta2 = job.beta2;
  const double clip = job.max_grad_norm / (norm + 1e-6);
  AdamScalars s;
  s.decay = static_cast<float>(rate * static_cast<double>(segment.weight_decay));
  s.b1 = static_cast<float>(1.0 - beta1);
  s.b2 = static_cast<float>(1.0 - beta2);
  s.scale = static_cast<float>(job.max_grad_norm > 0.0 && clip < 1.0 ? clip : 1.0);
  s.rate = static_cast<float>(rate / (1.0 - pow(beta1, t)));
  s.root = static_cast<float>(sqrt(1.0 - pow(beta2, t)));
  s.epsilon = static_cast<float>(job.epsilon);
  return s;
}

__device__ __forceinline__ float adam_element(float p, float g, float& m, float& v, const AdamScalars& s) {
  const float d = g * s.scale;
  m += s.b1 * (d - m);
  v += s.b2 * (d * d - v);
  // Not v b2 and p (1 - decay): those factors rounded to float err the same way in every step.
  return p - (s.decay * p + s.rate * m / (sqrtf(v) / s.root + s.epsilon));
}

inline __global__ void __launch_bounds__(kAdamThreads) adam_step(BankAdamW bank) {
  const AdamChunk chunk = bank.chunks[blockIdx.x];
  const AdamJob job = bank.jobs[chunk.job];
  if (!job.active) return;
  const AdamSegment segment = bank.segments[chunk.segment];
  const AdamCounters before = bank.before[chunk.job];
  const int thread = static_cast<int>(threadIdx.x), first = bank.first_chunk[chunk.job],
            last = bank.first_chunk[chunk.job + 1];
  double squares = 0.0;
  for (int c = first + thread; c < last; c += kAdamThreads) squares += static_cast<double>(bank.partial[c]);
  squares = block_sum(squares, shared_memory<double>());
  const bool finite = isfinite(squares);
  auto* scalars = reinterpret_cast<AdamScalars*>(shared_memory<double>() + kAdamThreads / 32);
  if (thread == 0) {  // one thread: double-precision powers are slow
    const double norm = sqrt(squares);
    *scalars = adam_scalars(job, segment, before, norm);
    if (static_cast<int>(blockIdx.x) == first)
      bank.counters[chunk.job] = {before.step + 1, before.updates + (finite ? 1 : 0), static_cast<float>(norm)};
  }
  __syncthreads();
  const AdamScalars s = *scalars;

  float *p = bank.parameters + chunk.offset, *g = bank.gradients + chunk.offset, *m = bank.exp_avg + chunk.offset,
        *v = bank.exp_avg_sq + chunk.offset;
  const int whole = fours(chunk, segment);
  for (int i = thread; i < whole; i += kAdamThreads) {
    if (finite) {
      const float4 gradient = reinterpret_cast<float4*>(g)[i];
      float4 value = reinterpret_cast<float4*>(p)[i], first_moment = reinterpret_cast<float4*>(m)[i],
             second = reinterpret_cast<float4*>(v)[i];
      value.x = adam_element(value.x, gradient.x, first_moment.x, second.x, s);
      value.y = adam_element(value.y, gradient.y, first_moment.y, second.y, s);
      value.z = adam_element(value.z, gradient.z, first_moment.z, second.z, s);
      value.w = adam_element(value.w, gradient.w, first_moment.w, second.w, s);
      reinterpret_cast<float4*>(p)[i] = value;
      reinterpret_cast<float4*>(m)[i] = first_moment;
      reinterpret_cast<float4*>(v)[i] = second;
      if (bank.shadow != nullptr) {
        auto* shadow = reinterpret_cast<uint32_t*>(bank.shadow + chunk.offset) + 2 * i;
        shadow[0] = pack_floats<bf16>(value.x, value.y);
        shadow[1] = pack_floats<bf16>(value.z, value.w);
      }
    }
    reinterpret_cast<float4*>(g)[i] = make_float4(0.0F, 0.0F, 0.0F, 0.0F);
  }
  for (int i = 4 * whole + thread; i < chunk.count; i += kAdamThreads) {
    if (finite) {
      p[i] = adam_element(p[i], g[i], m[i], v[i], s);
      if (bank.shadow != nullptr) reinterpret_cast<bf16*>(bank.shadow)[chunk.offset + i] = to_bf16(p[i]);
    }
    g[i] = 0.0F;
  }
}

inline int launch_bank_adamw(const BankAdamW& bank, void* stream) {
  if (bank.chunk_count == 0) return 0;
  const dim3 grid{static_cast<unsigned>(bank.chunk_count), 1, 1}, block{kAdamThreads, 1, 1};
  if (const int error = launch(adam_norms, grid, block, kAdamThreads / 32 * sizeof(float), stream, bank)) return error;
  return launch(adam_step, grid, block, kAdamThreads / 32 * sizeof(double) + sizeof(AdamScalars), stream, bank);
}

}  // namespace peft::cuda
