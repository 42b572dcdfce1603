#include "peft/kernels/bank_adamw.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <cstring>

#include "peft/base/error.h"
#include "src/kernels/cuda/bank_adamw/api.h"
#include "src/kernels/custom/tensors.h"

namespace peft {
namespace {

void check_trained(const BankAdamW::Trained& tensor, std::size_t adapters, at::Device device) {
  const at::Tensor& x = tensor.value;
  const bool leaf = x.scalar_type() == at::kFloat && x.is_leaf() && x.requires_grad() && x.device() == device;
  if (!leaf || x.dim() == 0 || x.size(0) != static_cast<int64_t>(adapters) || tensor.learning_rate.size() != adapters ||
      tensor.weight_decay.size() != adapters) {
    throw_error(
        "BankAdamW: {} tensor {} with {} rates and {} decays for {} adapters, expected a float32 leaf of as many",
        c10::toString(x.scalar_type()), fmt::join(x.sizes(), "x"), tensor.learning_rate.size(),
        tensor.weight_decay.size(), adapters);
  }
}

cuda::ScheduleKind schedule_of(const std::string& name) {
  if (name == "linear") return cuda::ScheduleKind::linear;
  if (name == "cosine") return cuda::ScheduleKind::cosine;
  if (name == "constant") return cuda::ScheduleKind::constant;
  if (name == "constant_with_warmup") return cuda::ScheduleKind::constant_with_warmup;
  throw_error("BankAdamW: no schedule is called {}", name);
}

cuda::AdamJob job_of(const BankAdamW::Hyperparameters& adapter) {
  return {.schedule = schedule_of(adapter.lr_scheduler_type),
          .warmup = adapter.warmup_steps,
          .total = adapter.total_steps,
          .beta1 = adapter.beta1,
          .beta2 = adapter.beta2,
          .epsilon = adapter.epsilon,
          .max_grad_norm = adapter.max_grad_norm};
}

template <class T>
std::vector<T> host_array(const at::Tensor& bytes, std::size_t count) {
  std::vector<T> values(count);
  const at::Tensor host = bytes.cpu();
  std::memcpy(values.data(), host.const_data_ptr(), static_cast<std::size_t>(host.numel()));
  return values;
}

}  // namespace

BankAdamW::BankAdamW(std::vector<Trained> tensors, const std::vector<Hyperparameters>& adapters)
    : tensors_(std::move(tensors)), count_(adapters.size()) {
  if (tensors_.empty() || adapters.empty()) throw_error("BankAdamW: {} tensors, {} adapters", tensors_.size(), count_);
  const at::Device device = tensors_[0].value.device();
  int64_t total = 0;
  for (const Trained& tensor : tensors_) {
    check_trained(tensor, count_, device);
    first_.push_back(total);
    constexpr int64_t kFloatsIn16Bytes = 4;
    total += (tensor.value.numel() + kFloatsIn16Bytes - 1) / kFloatsIn16Bytes * kFloatsIn16Bytes;
  }
  for (at::Tensor* flat : {&parameters_, &gradients_, &exp_avg_, &exp_avg_sq_})
    *flat = at::zeros({total}, at::TensorOptions(device).dtype(at::kFloat));
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    at::Tensor leaf = tensors_[i].value;
    const at::Tensor place = view(parameters_, i);
    place.copy_(leaf.detach());
    leaf.set_data(place);
    leaf.mutable_grad() = view(gradients_, i);
  }

  std::vector<cuda::AdamSegment> segments;
  for (std::size_t k = 0; k < count_; ++k) {  // the kernels want them by adapter
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      const Trained& tensor = tensors_[i];
      const int64_t numbers = tensor.value.numel() / tensor.value.size(0);
      segments.push_back({first_[i] + static_cast<int64_t>(k) * numbers, numbers, static_cast<int32_t>(k),
                          tensor.learning_rate[k], tensor.weight_decay[k]});
    }
  }
  std::vector<cuda::AdamJob> table;
  for (const Hyperparameters& adapter : adapters) table.push_back(job_of(adapter));
  const cuda::AdamWorkList work = cuda::adam_work_list(segments, custom::count(static_cast<int64_t>(count_)));
  segments_ = custom::device_array(segments, device);
  hyperparameters_ = custom::device_array(table, device);
  counters_ = custom::device_array(std::vector<cuda::AdamCounters>(count_), device);
  before_ = at::empty_like(counters_);
  chunks_ = custom::device_array(work.chunks, device);
  first_chunk_ = custom::device_array(work.first_chunk, device);
  chunk_count_ = custom::count(static_cast<int64_t>(work.chunks.size()));
  partial_ = custom::float_tensor(parameters_, {chunk_count_});
}

at::Tensor BankAdamW::view(const at::Tensor& flat, std::size_t tensor) const {
  const at::Tensor& value = tensors_.at(tensor).value;
  return flat.narrow(0, first_[tensor], value.numel()).view(value.sizes());
}

void BankAdamW::step() {
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    const at::Tensor& gradient = tensors_[i].value.grad();
    if (!gradient.defined() || gradient.const_data_ptr() != view(gradients_, i).const_data_ptr())
      throw_error("BankAdamW: the gradient of tensor {} was replaced or reset", i);
  }
  const cuda::BankAdamW bank{.parameters = custom::mutable_floats(parameters_),
                             .gradients = custom::mutable_floats(gradients_),
                             .exp_avg = custom::mutable_floats(exp_avg_),
                             .exp_avg_sq = custom::mutable_floats(exp_avg_sq_),
                             .shadow = nullptr,
                             .segments = custom::array<cuda::AdamSegment>(segments_),
                             .jobs = custom::array<cuda::AdamJob>(hyperparameters_),
                             .counters = static_cast<cuda::AdamCounters*>(counters_.mutable_data_ptr()),
                             .chunks = custom::array<cuda::AdamChunk>(chunks_),
                             .first_chunk = custom::array<int32_t>(first_chunk_),
                             .before = static_cast<cuda::AdamCounters*>(before_.mutable_data_ptr()),
                             .partial = custom::mutable_floats(partial_),
                             .chunk_count = chunk_count_};
  custom::check(cuda::bank_adamw(bank, custom::stream_of(parameters_)), "bank_adamw", parameters_);
}

void BankAdamW::set_active(const std::vector<bool>& active) {
  auto table = host_array<cuda::AdamJob>(hyperparameters_, count_);
  for (std::size_t k = 0; k < count_; ++k) table[k].active = active.at(k) ? 1 : 0;
  hyperparameters_.copy_(custom::device_array(table, at::kCPU));  // in place: a captured step reads this table
}

void BankAdamW::set_counters(const std::vector<Counters>& counters) {
  std::vector<cuda::AdamCounters> table(count_);
  for (std::size_t k = 0; k < count_; ++k) table[k] = {counters.at(k).step, counters.at(k).updates, 0.0F};
  counters_.copy_(custom::device_array(table, at::kCPU));
}

std::vector<BankAdamW::Counters> BankAdamW::counters() const {
  std::vector<Counters> counters;
  for (const cuda::AdamCounters& c : host_array<cuda::AdamCounters>(counters_, count_))
    counters.push_back({c.step, c.updates, static_cast<double>(c.gradient_norm)});
  return counters;
}

}  // namespace peft
