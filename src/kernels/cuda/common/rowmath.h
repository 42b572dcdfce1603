#pragma once
/// Scalar mathematics that kernels share with their tests: host and device, no torch, no CUDA header.

#include <math.h>

#include <cstdint>

#ifdef __CUDACC__
#define PEFT_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define PEFT_HOST_DEVICE inline
#endif

namespace peft::cuda {

enum class ScheduleKind : int32_t { constant, constant_with_warmup, linear, cosine };

/// Factor of the learning rate before update number `step` (from 0), as transformers' schedulers have it.
PEFT_HOST_DEVICE double schedule_factor(ScheduleKind kind, int64_t step, int64_t warmup, int64_t total) {
  if (kind == ScheduleKind::constant) return 1.0;
  if (step < warmup) return static_cast<double>(step) / static_cast<double>(warmup);
  if (kind == ScheduleKind::constant_with_warmup) return 1.0;
  const int64_t left = total > warmup ? total - warmup : 1;
  const double progress = static_cast<double>(step - warmup) / static_cast<double>(left);
  const double factor =
      kind == ScheduleKind::cosine ? 0.5 * (1.0 + cos(3.14159265358979323846 * progress)) : 1.0 - progress;
  return factor > 0.0 ? factor : 0.0;
}

}  // namespace peft::cuda
