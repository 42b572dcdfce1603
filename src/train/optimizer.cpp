#include "peft/train/optimizer.h"

#include <ATen/ATen.h>

#include <cmath>

#include "peft/kernels/optimizer.h"

namespace peft {

Optimizer::Optimizer(Method& method, std::vector<const TrainConfig*> configs)
    : method_(method), configs_(std::move(configs)) {
  const bool adam = configs_.at(0)->optim == "adamw";
  for (const Parameter& p : method_.parameters()) {
    first_.push_back(at::zeros_like(p.value).detach());
    if (adam) second_.push_back(at::zeros_like(p.value).detach());
  }
}

double Optimizer::gradient_norm(std::size_t parameter, int64_t k) const {
  const at::Tensor& gradient = method_.parameters()[parameter].value.grad();
  return gradient.defined() ? std::sqrt(sum_of_squares(gradient[k])) : 0.0;
}

Optimizer::Report Optimizer::step(int64_t k, double factor, int64_t update) {
  const TrainConfig& config = *configs_[k];
  double squares = 0.0;
  for (std::size_t i = 0; i < method_.parameters().size(); ++i) squares += std::pow(gradient_norm(i, k), 2);
  const double norm = std::sqrt(squares);
  if (!std::isfinite(norm)) return {norm, false};
  const double clip = config.max_grad_norm > 0 ? std::min(1.0, config.max_grad_norm / (norm + 1e-6)) : 1.0;
  for (std::size_t i = 0; i < method_.parameters().size(); ++i) {
    const Parameter& p = method_.parameters()[i];
    if (!p.value.grad().defined()) continue;
    const at::Tensor value = p.value.detach()[k], gradient = p.value.grad()[k];
    const double rate = config.rate_of(p.group) * factor, decay = p.decays ? config.weight_decay : 0.0;
    if (second_.empty()) {
      sgd_step(value, gradient, first_[i][k], rate, config.momentum, decay, clip);
    } else {
      adamw_step(value, gradient, first_[i][k], second_[i][k],
                 {.learning_rate = rate,
                  .beta1 = config.adam_beta1,
                  .beta2 = config.adam_beta2,
                  .epsilon = config.adam_epsilon,
                  .weight_decay = decay,
                  .step = update,
                  .gradient_scale = clip});
    }
  }
  return {norm, true};
}

void Optimizer::zero_gradients() {
  for (const Parameter& p : method_.parameters()) {
    at::Tensor value = p.value;
    value.mutable_grad().reset();
  }
}

std::map<std::string, at::Tensor> Optimizer::state(int64_t k) const {
  std::map<std::string, at::Tensor> tensors;
  for (std::size_t i = 0; i < method_.parameters().size(); ++i) {
    const std::string& name = method_.parameters()[i].name;
    tensors[(second_.empty() ? "momentum_buffer/" : "exp_avg/") + name] = first_[i][k];
    if (!second_.empty()) tensors["exp_avg_sq/" + name] = second_[i][k];
  }
  return tensors;
}

}  // namespace peft
