#pragma once
/// One AdamW step of every adapter of a bank in two launches, by our own kernel.     [Loshchilov and Hutter 2017, arXiv:1711.05101]

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

namespace peft {

/// The parameters, gradients and moments of K adapters, each in one flat float32 buffer. Each adapter has its own rates, decays, clip and
/// schedule; a step is, for every active adapter,
///   n = |g|_2 over the adapter's slices     g *= min(1, max_grad_norm / (n + 1e-6))     lr = learning_rate factor(step)
///   p -= lr weight_decay p     m += (1 - b1)(g - m)     v = b2 v + (1 - b2) g^2     p -= lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps)
/// and gradients are zero afterwards. Bitwise repeatable, and bitwise the same for an adapter alone and in a bank.
///
/// The leaves given keep their identity and values, but live in the buffer from then on, and so do their gradients: autograd adds to the
/// views. Slice k of a leaf, of its gradient and of its moments belongs to adapter k.
class BankAdamW {
 public:
  struct Trained {
    at::Tensor value;                                ///< [K, ...] float32 leaf
    std::vector<float> learning_rate, weight_decay;  ///< [K]
  };
  struct Hyperparameters {
    std::string lr_scheduler_type = "linear";  ///< or cosine, constant, constant_with_warmup
    int64_t warmup_steps = 0, total_steps = 1;
    double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
    double max_grad_norm = 1.0;  ///< 0: no clipping
  };
  struct Counters {
    int64_t step = 0;            ///< steps taken, skipped ones too: where the schedule stands
    int64_t updates = 0;         ///< t
    double gradient_norm = 0.0;  ///< n of the last step
  };
  /// Throws Error unless every tensor is such a leaf of K slices on one device and every list has K numbers.
  BankAdamW(std::vector<Trained> tensors, const std::vector<Hyperparameters>& adapters);

  /// Steps the active adapters and zeroes their gradients. An adapter whose n is not finite keeps its numbers and t; its step still counts.
  /// Throws Error when a leaf's gradient was replaced or reset: it would not be trained.
  void step();
  /// An adapter that is not active keeps everything, its gradients and its place in the schedule included. All are active at first.
  void set_active(const std::vector<bool>& active);
  void set_counters(const std::vector<Counters>& counters);  ///< [K], of adapters that go on

  std::vector<Counters> counters() const;  ///< [K], copied to the host: waits for the device
  at::Tensor exp_avg(std::size_t tensor) const { return view(exp_avg_, tensor); }        ///< [K, ...]
  at::Tensor exp_avg_sq(std::size_t tensor) const { return view(exp_avg_sq_, tensor); }  ///< [K, ...]

 private:
  at::Tensor view(const at::Tensor& flat, std::size_t tensor) const;

  std::vector<Trained> tensors_;
  std::size_t count_;
  std::vector<int64_t> first_;  // [tensors], of slice 0 in a buffer
  at::Tensor parameters_, gradients_, exp_avg_, exp_avg_sq_;
  at::Tensor segments_, hyperparameters_, counters_, before_, chunks_, first_chunk_, partial_;
  int32_t chunk_count_ = 0;
};

}  // namespace peft
