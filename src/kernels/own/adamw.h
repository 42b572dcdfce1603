#pragma once
/// One AdamW step of every job of a bank in two launches (K6).     [Loshchilov and Hutter 2017, arXiv:1711.05101]
/// Private to src/kernels.

#include <ATen/core/Tensor.h>

#include <vector>

#include "src/kernels/cuda/bank_adamw/api.h"

namespace peft::own {

/// The parameters, gradients and moments of K jobs, each in one flat float32 buffer: slices of a tensor one after another, every slice on
/// 16 bytes. Formula, clipping and schedules: bank_adamw/api.h.
///
/// The leaves given keep their identity and values, but live in the buffer from then on, and so do their gradients: autograd adds to the
/// views. Slice k of a leaf, of its gradient and of its moments belongs to job k. Leaves whose slices are no multiple of four numbers are
/// not contiguous from slice to slice; autograd warns once that this layout is not its own.
class BankAdamW {
 public:
  struct Trained {
    at::Tensor value;                                ///< [K, ...] float32 leaf
    std::vector<float> learning_rate, weight_decay;  ///< [K]
  };
  /// Throws Error unless every tensor is such a leaf of K slices on one device and every list has K numbers.
  BankAdamW(std::vector<Trained> tensors, std::vector<cuda::AdamJob> jobs);

  /// Steps the active jobs and zeroes their gradients. A job whose gradient norm is no finite number keeps its numbers.
  /// Throws Error when a leaf's gradient was replaced or reset: it would not be trained.
  void step();
  /// A job that is not active keeps everything, its gradients and its place in the schedule included.
  void set_active(int64_t job, bool active);

  std::vector<cuda::AdamCounters> counters() const;  ///< [K], copied to the host: waits for the device
  at::Tensor exp_avg(std::size_t tensor) const { return view(exp_avg_, tensor); }        ///< [K, ...]
  at::Tensor exp_avg_sq(std::size_t tensor) const { return view(exp_avg_sq_, tensor); }  ///< [K, ...]

 private:
  at::Tensor view(const at::Tensor& flat, std::size_t tensor) const;

  std::vector<Trained> tensors_;
  std::vector<cuda::AdamJob> jobs_;
  std::vector<int64_t> first_;  // [tensors], of slice 0 in a buffer
  at::Tensor parameters_, gradients_, exp_avg_, exp_avg_sq_;
  at::Tensor segments_, job_table_, counters_, before_, chunks_, first_chunk_, partial_;
  int32_t chunk_count_ = 0;
};

}  // namespace peft::own
