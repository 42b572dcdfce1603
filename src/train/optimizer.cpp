#include "peft/train/optimizer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "peft/kernels/optimizer.h"

namespace peft {

Optimizer::Optimizer(Method& method, std::vector<Hyperparameters> adapters, bool custom_kernels)
    : method_(method), adapters_(std::move(adapters)) {
  const bool adam = adapters_.at(0).config->optim == "adamw";
  const auto& parameters = method_.parameters();
  if (custom_kernels && adam && std::all_of(parameters.begin(), parameters.end(), [](const Parameter& p) {
        return p.value.scalar_type() == at::kFloat;
      })) {
    use_custom_kernel();
    return;
  }
  for (const Parameter& p : parameters) {
    first_.push_back(at::zeros_like(p.value).detach());
    if (adam) second_.push_back(at::zeros_like(p.value).detach());
  }
}

void Optimizer::use_custom_kernel() {
  std::vector<BankAdamW::Trained> tensors;
  for (const Parameter& p : method_.parameters()) {
    BankAdamW::Trained& tensor = tensors.emplace_back(BankAdamW::Trained{p.value, {}, {}});
    for (const Hyperparameters& adapter : adapters_) {
      tensor.learning_rate.push_back(static_cast<float>(adapter.config->rate_of(p.group)));
      tensor.weight_decay.push_back(p.decays ? static_cast<float>(adapter.config->weight_decay) : 0.0F);
    }
  }
  std::vector<BankAdamW::Hyperparameters> adapters;
  for (const auto& [config, schedule] : adapters_) {
    adapters.push_back({.lr_scheduler_type = config->lr_scheduler_type,
                        .warmup_steps = schedule.warmup_steps(),
                        .total_steps = schedule.total_steps(),
                        .beta1 = config->adam_beta1,
                        .beta2 = config->adam_beta2,
                        .epsilon = config->adam_epsilon,
                        .max_grad_norm = config->max_grad_norm});
  }
  active_.assign(adapters_.size(), true);
  bank_ = std::make_unique<BankAdamW>(std::move(tensors), adapters);
  for (std::size_t i = 0; i < method_.parameters().size(); ++i) {
    first_.push_back(bank_->exp_avg(i));
    second_.push_back(bank_->exp_avg_sq(i));
  }
}

std::vector<Optimizer::Report> Optimizer::step(const std::vector<Due>& due) {
  if (bank_ != nullptr) return step_all(due);
  std::vector<Report> reports;
  for (const Due& each : due) reports.push_back(step_one(each));
  return reports;
}

std::vector<Optimizer::Report> Optimizer::step_all(const std::vector<Due>& due) {
  std::vector<bool> active(adapters_.size(), false);
  std::vector<BankAdamW::Counters> counters(adapters_.size());
  for (const Due& each : due) {
    active.at(each.k) = true;
    counters[each.k] = {.step = each.step, .updates = each.updates};
  }
  if (active != active_) bank_->set_active(active);
  active_ = active;
  bank_->set_counters(counters);
  bank_->step();
  counters = bank_->counters();
  std::vector<Report> reports;
  for (const Due& each : due) {
    const double norm = counters[each.k].gradient_norm;
    reports.push_back({norm, std::isfinite(norm)});
  }
  return reports;
}

Optimizer::Report Optimizer::step_one(const Due& due) {
  const auto k = static_cast<int64_t>(due.k);
  const auto& [config, schedule] = adapters_.at(due.k);
  std::vector<at::Tensor> gradients;
  for (const Parameter& p : method_.parameters()) {
    if (const at::Tensor& gradient = p.value.grad(); gradient.defined()) gradients.push_back(gradient[k]);
  }
  const double norm = std::sqrt(sum_of_squares(gradients)), factor = schedule.factor(due.step);
  if (!std::isfinite(norm)) return {norm, false};
  const double clip = config->max_grad_norm > 0 ? std::min(1.0, config->max_grad_norm / (norm + 1e-6)) : 1.0;
  std::map<std::pair<double, double>, AdamWSlices> alike;  // by rate and decay
  for (std::size_t i = 0; i < method_.parameters().size(); ++i) {
    const Parameter& p = method_.parameters()[i];
    if (!p.value.grad().defined()) continue;
    const at::Tensor value = p.value.detach()[k], gradient = p.value.grad()[k];
    const double rate = config->rate_of(p.group) * factor, decay = p.decays ? config->weight_decay : 0.0;
    if (second_.empty()) {
      sgd_step(value, gradient, first_[i][k], rate, config->momentum, decay, clip);
    } else {
      AdamWSlices& slices = alike[{rate, decay}];
      slices.parameters.push_back(value);
      slices.gradients.push_back(gradient);
      slices.exp_avgs.push_back(first_[i][k]);
      slices.exp_avg_sqs.push_back(second_[i][k]);
    }
  }
  for (const auto& [rates, slices] : alike) {
    adamw_step(slices, {.learning_rate = rates.first,
                        .beta1 = config->adam_beta1,
                        .beta2 = config->adam_beta2,
                        .epsilon = config->adam_epsilon,
                        .weight_decay = rates.second,
                        .step = due.updates + 1,
                        .gradient_scale = clip});
  }
  return {norm, true};
}

void Optimizer::zero_gradients() {
  if (bank_ != nullptr) return;  // its step leaves zeros
  for (const Parameter& p : method_.parameters()) {
    at::Tensor value = p.value;
    value.mutable_grad().reset();
  }
}

void Optimizer::discard_gradients() {
  for (const Parameter& p : method_.parameters()) {
    at::Tensor value = p.value;
    if (value.mutable_grad().defined())
      value.mutable_grad().zero_();  // in place: the kernel of a bank holds their addresses
  }
}

bool Optimizer::moved(std::size_t parameter, int64_t k) const {
  const auto nonzero = [&](const std::vector<at::Tensor>& state) {
    return !state.empty() && state.at(parameter)[k].any().item<bool>();
  };
  return nonzero(first_) || nonzero(second_);
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
