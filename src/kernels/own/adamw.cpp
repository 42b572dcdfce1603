#include "src/kernels/own/adamw.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <cstring>

#include "peft/base/error.h"
#include "src/kernels/own/tensors.h"

namespace peft::own {
namespace {

/// Numbers from one slice of a tensor to the next.
int64_t slice_stride(const at::Tensor& value) {
  constexpr int64_t kFloatsIn16Bytes = 4;
  const int64_t numbers = value.numel() / value.size(0);
  return (numbers + kFloatsIn16Bytes - 1) / kFloatsIn16Bytes * kFloatsIn16Bytes;
}

void check_trained(const BankAdamW::Trained& tensor, std::size_t jobs, at::Device device) {
  const at::Tensor& x = tensor.value;
  const bool leaf = x.scalar_type() == at::kFloat && x.is_leaf() && x.requires_grad() && x.device() == device;
  if (!leaf || x.dim() == 0 || x.size(0) != static_cast<int64_t>(jobs) || tensor.learning_rate.size() != jobs ||
      tensor.weight_decay.size() != jobs) {
    throw_error("BankAdamW: {} tensor {} with {} rates and {} decays for {} jobs, expected a float32 leaf of as many",
                c10::toString(x.scalar_type()), fmt::join(x.sizes(), "x"), tensor.learning_rate.size(),
                tensor.weight_decay.size(), jobs);
  }
}

}  // namespace

BankAdamW::BankAdamW(std::vector<Trained> tensors, std::vector<cuda::AdamJob> jobs)
    : tensors_(std::move(tensors)), jobs_(std::move(jobs)) {
  if (tensors_.empty() || jobs_.empty()) throw_error("BankAdamW: {} tensors, {} jobs", tensors_.size(), jobs_.size());
  const at::Device device = tensors_[0].value.device();
  int64_t total = 0;
  for (const Trained& tensor : tensors_) {
    check_trained(tensor, jobs_.size(), device);
    first_.push_back(total);
    total += tensor.value.size(0) * slice_stride(tensor.value);
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
  for (std::size_t k = 0; k < jobs_.size(); ++k) {  // the kernels want them by job
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      const Trained& tensor = tensors_[i];
      const auto slice = static_cast<int64_t>(k);
      segments.push_back({first_[i] + slice * slice_stride(tensor.value), tensor.value.numel() / tensor.value.size(0),
                          static_cast<int32_t>(k), tensor.learning_rate[k], tensor.weight_decay[k]});
    }
  }
  const cuda::AdamWorkList work = cuda::adam_work_list(segments, count(jobs_.size()));
  segments_ = device_array(segments, device);
  job_table_ = device_array(jobs_, device);
  counters_ = device_array(std::vector<cuda::AdamCounters>(jobs_.size()), device);
  before_ = at::empty_like(counters_);
  chunks_ = device_array(work.chunks, device);
  first_chunk_ = device_array(work.first_chunk, device);
  chunk_count_ = count(work.chunks.size());
  partial_ = float_tensor(parameters_, {chunk_count_});
}

at::Tensor BankAdamW::view(const at::Tensor& flat, std::size_t tensor) const {
  const at::Tensor& value = tensors_.at(tensor).value;
  const int64_t slices = value.size(0), stride = slice_stride(value);
  return flat.narrow(0, first_[tensor], slices * stride)
      .view({slices, stride})
      .narrow(1, 0, value.numel() / slices)
      .view(value.sizes());
}

void BankAdamW::step() {
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    const at::Tensor& gradient = tensors_[i].value.grad();
    if (!gradient.defined() || gradient.const_data_ptr() != view(gradients_, i).const_data_ptr())
      throw_error("BankAdamW: the gradient of tensor {} was replaced or reset", i);
  }
  const cuda::BankAdamW bank{.parameters = mutable_floats(parameters_),
                             .gradients = mutable_floats(gradients_),
                             .exp_avg = mutable_floats(exp_avg_),
                             .exp_avg_sq = mutable_floats(exp_avg_sq_),
                             .shadow = nullptr,
                             .segments = array<cuda::AdamSegment>(segments_),
                             .jobs = array<cuda::AdamJob>(job_table_),
                             .counters = static_cast<cuda::AdamCounters*>(counters_.mutable_data_ptr()),
                             .chunks = array<cuda::AdamChunk>(chunks_),
                             .first_chunk = array<int32_t>(first_chunk_),
                             .before = static_cast<cuda::AdamCounters*>(before_.mutable_data_ptr()),
                             .partial = mutable_floats(partial_),
                             .chunk_count = chunk_count_};
  check(cuda::bank_adamw(bank, stream_of(parameters_)), "bank_adamw", parameters_);
}

void BankAdamW::set_active(int64_t job, bool active) {
  jobs_.at(static_cast<std::size_t>(job)).active = active ? 1 : 0;
  job_table_.copy_(device_array(jobs_, job_table_.device()));  // in place: a captured step reads this table
}

std::vector<cuda::AdamCounters> BankAdamW::counters() const {
  std::vector<cuda::AdamCounters> counters(jobs_.size());
  const at::Tensor host = counters_.cpu();
  std::memcpy(counters.data(), host.const_data_ptr(), static_cast<std::size_t>(host.numel()));
  return counters;
}

}  // namespace peft::own
