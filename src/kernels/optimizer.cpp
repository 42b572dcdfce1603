#include "peft/kernels/optimizer.h"

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "src/kernels/fused_optimizer.h"

namespace peft {
namespace {

constexpr int64_t kGrain = 1 << 16;

/// Eight lanes that a compiler keeps in registers; their order is fixed, so the sum is repeatable.
template <class T>
double chunk_sum(const T* x, int64_t n) {
  double lanes[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (int64_t j = 0; j < 8; ++j) lanes[j] += static_cast<double>(x[i + j]) * static_cast<double>(x[i + j]);
  }
  double sum = 0.0;
  for (const double lane : lanes) sum += lane;
  for (; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return sum;
}

void cpu_adamw_step(const at::Tensor& parameter, const at::Tensor& gradient, const at::Tensor& exp_avg,
                    const at::Tensor& exp_avg_sq, const AdamW& o) {
  at::NoGradGuard no_grad;
  const double correction1 = 1.0 - std::pow(o.beta1, static_cast<double>(o.step)),
               correction2 = 1.0 - std::pow(o.beta2, static_cast<double>(o.step));
  const double step_size = o.learning_rate / correction1, root = std::sqrt(correction2);
  AT_DISPATCH_FLOATING_TYPES(parameter.scalar_type(), "adamw_step", [&] {
    const auto* g = gradient.const_data_ptr<scalar_t>();
    auto *p = parameter.data_ptr<scalar_t>(), *m = exp_avg.data_ptr<scalar_t>(), *v = exp_avg_sq.data_ptr<scalar_t>();
    const auto keep = static_cast<scalar_t>(1.0 - o.learning_rate * o.weight_decay),
               b1 = static_cast<scalar_t>(1.0 - o.beta1), b2 = static_cast<scalar_t>(o.beta2),
               c2 = static_cast<scalar_t>(1.0 - o.beta2), scale = static_cast<scalar_t>(o.gradient_scale),
               rate = static_cast<scalar_t>(step_size), bias = static_cast<scalar_t>(root),
               eps = static_cast<scalar_t>(o.epsilon);
    at::parallel_for(0, parameter.numel(), kGrain, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const scalar_t d = g[i] * scale;
        m[i] += b1 * (d - m[i]);
        v[i] = b2 * v[i] + c2 * d * d;
        p[i] = p[i] * keep - rate * m[i] / (std::sqrt(v[i]) / bias + eps);
      }
    });
  });
}

double cpu_sum_of_squares(const at::Tensor& slice) {
  const at::Tensor x = slice.contiguous();
  const int64_t chunks = (x.numel() + kGrain - 1) / kGrain;
  std::vector<double> sums(chunks);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "sum_of_squares", [&] {
    const auto* data = x.const_data_ptr<scalar_t>();
    at::parallel_for(0, chunks, 1, [&](int64_t first, int64_t last) {
      for (int64_t c = first; c < last; ++c)
        sums[c] = chunk_sum(data + c * kGrain, std::min(kGrain, x.numel() - c * kGrain));
    });
  });
  double total = 0.0;
  for (const double sum : sums) total += sum;
  return total;
}

}  // namespace

void adamw_step(const at::Tensor& parameter, const at::Tensor& gradient, const at::Tensor& exp_avg,
                const at::Tensor& exp_avg_sq, const AdamW& options) {
  adamw_step({{parameter}, {gradient}, {exp_avg}, {exp_avg_sq}}, options);
}

void adamw_step(const AdamWSlices& slices, const AdamW& options) {
  if (!slices.parameters.empty() && !slices.parameters.front().is_cpu()) {
    fused_adamw_step(slices, options);
    return;
  }
  for (std::size_t i = 0; i < slices.parameters.size(); ++i)
    cpu_adamw_step(slices.parameters[i], slices.gradients[i], slices.exp_avgs[i], slices.exp_avg_sqs[i], options);
}

void fused_adamw_step(const AdamWSlices& slices, const AdamW& o) {
  at::NoGradGuard no_grad;
  const at::Tensor step =
      at::full({}, static_cast<double>(o.step), slices.parameters.front().options().dtype(at::kFloat));
  const std::vector<at::Tensor> steps(slices.parameters.size(), step);
  const auto gradients =
      o.gradient_scale == 1.0 ? slices.gradients : at::_foreach_mul(slices.gradients, o.gradient_scale);
  at::_fused_adamw_(slices.parameters, gradients, slices.exp_avgs, slices.exp_avg_sqs, {}, steps, o.learning_rate,
                    o.beta1, o.beta2, o.weight_decay, o.epsilon, /*amsgrad=*/false, /*maximize=*/false);
}

double fused_sum_of_squares(const std::vector<at::Tensor>& slices) {
  return at::stack(at::_foreach_norm(slices, 2, at::kDouble)).square().sum().item<double>();
}

double sum_of_squares(const std::vector<at::Tensor>& slices) {
  if (!slices.empty() && !slices.front().is_cpu()) return fused_sum_of_squares(slices);
  double total = 0.0;
  for (const at::Tensor& slice : slices) total += cpu_sum_of_squares(slice);
  return total;
}

double sum_of_squares(const at::Tensor& slice) { return sum_of_squares(std::vector{slice}); }

void sgd_step(const at::Tensor& parameter, const at::Tensor& gradient, const at::Tensor& momentum_buffer,
              double learning_rate, double momentum, double weight_decay, double gradient_scale) {
  at::NoGradGuard no_grad;
  parameter.add_(parameter, -learning_rate * weight_decay);  // 1 - rate rounded to float32 would bias every step
  momentum_buffer.mul_(momentum).add_(gradient, gradient_scale);
  parameter.add_(momentum_buffer, -learning_rate);
}

}  // namespace peft
