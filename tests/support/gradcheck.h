#pragma once
/// Gradients by central differences.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <functional>
#include <vector>

namespace peft {

inline constexpr double kGradcheckStep = 1e-6, kGradcheckTolerance = 1e-6;

/// Gradients of a scalar; zeros for a leaf it does not depend on.
inline std::vector<at::Tensor> gradients(const at::Tensor& loss, const std::vector<at::Tensor>& leaves) {
  auto grads = torch::autograd::grad({loss}, leaves, {}, std::nullopt, false, true);
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    if (!grads[i].defined()) grads[i] = at::zeros_like(leaves[i]);
  }
  return grads;
}

/// Largest error of autograd's gradient of `loss` in any leaf (float64, contiguous), relative to that leaf's largest gradient.
/// `loss` reads the leaves anew at each call.
inline double gradient_error(const std::function<at::Tensor()>& loss, const std::vector<at::Tensor>& leaves) {
  const std::vector<at::Tensor> found = gradients(loss(), leaves);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);  // thousands of tiny evaluations: waking threads would take most of the time
  double worst = 0.0;
  for (std::size_t l = 0; l < leaves.size(); ++l) {
    at::Tensor expected = at::zeros(leaves[l].sizes(), at::kDouble);
    auto *values = leaves[l].data_ptr<double>(), *slopes = expected.data_ptr<double>();
    at::NoGradGuard no_grad;
    for (int64_t i = 0; i < leaves[l].numel(); ++i) {
      const double value = values[i];
      values[i] = value + kGradcheckStep;
      const double above = loss().item<double>();
      values[i] = value - kGradcheckStep;
      const double below = loss().item<double>();
      values[i] = value;
      slopes[i] = (above - below) / (2.0 * kGradcheckStep);
    }
    const double largest = expected.numel() > 0 ? expected.abs().max().item<double>() : 0.0;
    const double error = expected.numel() > 0 ? (found[l] - expected).abs().max().item<double>() : 0.0;
    worst = std::max(worst, error / std::max(largest, 1e-3));
  }
  at::set_num_threads(threads);
  return worst;
}

}  // namespace peft
