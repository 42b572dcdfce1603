#pragma once
/// One AdamW step of every job of a bank in two launches. No torch, no CUDA header.      [Loshchilov and Hutter 2017]
///
/// All trainable tensors lie in flat float32 buffers: parameters, gradients, m, v. A segment is one tensor of one job. Every job has its
/// own rates, decay, clip and schedule:
///   n = |g|_2 over the job's segments     g *= min(1, max_grad_norm / (n + 1e-6))     lr = learning_rate factor(step)
///   p -= lr weight_decay p     m += (1 - b1)(g - m)     v = b2 v + (1 - b2) g^2     p -= lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps)
/// A job whose n is not finite keeps p, m, v and t; its step still counts. Gradients are zero afterwards. An inactive job is not touched.
/// Bitwise repeatable: sums have a fixed order, there are no atomics.

#include <cstdint>
#include <vector>

#include "src/kernels/cuda/common/rowmath.h"

namespace peft::cuda {

struct AdamSegment {
  int64_t offset;  ///< first element; a multiple of 4 where `count` is one
  int64_t count;
  int32_t job;
  float learning_rate, weight_decay;
};

struct AdamJob {
  ScheduleKind schedule = ScheduleKind::linear;
  int32_t active = 1;
  int64_t warmup = 0, total = 1;  ///< steps
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double max_grad_norm = 1.0;  ///< 0: no clipping
};

/// Lives on the device, written by every step.
struct AdamCounters {
  int64_t step = 0;     ///< steps taken, skipped ones too
  int64_t updates = 0;  ///< t
  float gradient_norm = 0.0F;
};

/// At most kAdamChunk elements of one segment; the work of one block.
struct AdamChunk {
  int64_t offset;
  int32_t count, segment, job;
};
constexpr int32_t kAdamChunk = 4096;

/// Chunks sorted by job, and where each job's begin: [jobs + 1]. Segments must be sorted by job.
struct AdamWorkList {
  std::vector<AdamChunk> chunks;
  std::vector<int32_t> first_chunk;
};
AdamWorkList adam_work_list(const std::vector<AdamSegment>& segments, int32_t jobs);

/// All pointers are device pointers.
struct BankAdamW {
  float *parameters, *gradients, *exp_avg, *exp_avg_sq;
  uint16_t* shadow;  ///< bfloat16 copy of the parameters, or null
  const AdamSegment* segments;
  const AdamJob* jobs;
  AdamCounters* counters;  ///< [jobs]
  const AdamChunk* chunks;
  const int32_t* first_chunk;
  AdamCounters* before;  ///< [jobs], scratch: the counters as the step found them
  float* partial;        ///< [chunks], scratch
  int32_t chunk_count;
};

/// 0, or CUDA's error number.
int bank_adamw(const BankAdamW& bank, void* stream);

}  // namespace peft::cuda
