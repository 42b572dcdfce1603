#pragma once
/// One optimiser step on the slices of one adapter: every adapter of a bank has its own rates, decay and step. Slices are contiguous. On the
/// CPU float32 and float64 run in one pass each; on a GPU torch's fused operators take all slices at once.

#include <ATen/core/Tensor.h>

#include <vector>

namespace peft {

/// AdamW [Loshchilov and Hutter 2017, arXiv:1711.05101] exactly as torch.optim.AdamW:
///   p -= lr weight_decay p;  m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;  p -= lr / (1-b1^t) m / (sqrt(v / (1-b2^t)) + eps)
struct AdamW {
  double learning_rate = 1e-3, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0.0;
  int64_t step = 1;             ///< t, counted from 1
  double gradient_scale = 1.0;  ///< of clipping
};
void adamw_step(const at::Tensor& parameter, const at::Tensor& gradient, const at::Tensor& exp_avg,
                const at::Tensor& exp_avg_sq, const AdamW& options);

/// Slices that share rate and decay.
struct AdamWSlices {
  std::vector<at::Tensor> parameters, gradients, exp_avgs, exp_avg_sqs;
};
void adamw_step(const AdamWSlices& slices, const AdamW& options);

/// SGD with momentum as torch.optim.SGD, but with decoupled decay: p -= lr weight_decay p;  m = momentum m + g;  p -= lr m
void sgd_step(const at::Tensor& parameter, const at::Tensor& gradient, const at::Tensor& momentum_buffer,
              double learning_rate, double momentum, double weight_decay, double gradient_scale);

/// Sum of squares in float64, in a fixed order that does not depend on threads or neighbours.
double sum_of_squares(const at::Tensor& slice);
/// Over all of them; one copy to the host. 0 for an empty list.
double sum_of_squares(const std::vector<at::Tensor>& slices);

}  // namespace peft
