#include "peft/tensor/packed_batch.h"

#include <ATen/ops/from_blob.h>
#include <ATen/ops/tensor.h>

#include <algorithm>

#include "peft/base/error.h"

namespace peft {
namespace {

at::Tensor device_copy(const std::vector<int64_t>& values, at::Device device) {
  return at::tensor(at::ArrayRef<int64_t>(values), at::TensorOptions().dtype(at::kLong)).to(device);
}

}  // namespace

PackedBatch::PackedBatch(const std::vector<Sequence>& sequences, int64_t adapters, at::Device device)
    : group_rows_(adapters + 1, 0), group_sequences_(adapters + 1, 0), device_(device) {
  cu_.reserve(sequences.size() + 1);
  for (const Sequence& s : sequences) {
    if (s.length < 0 || s.adapter < 0 || s.adapter >= adapters || (!adapter_.empty() && s.adapter < adapter_.back())) {
      throw_error("packed batch: sequence {} has length {}, adapter {} of {}: lengths must be >= 0, adapters ascending",
                  adapter_.size(), s.length, s.adapter, adapters);
    }
    for (int64_t i = 0; i < s.length; ++i) position_.push_back(i);
    cu_.push_back(cu_.back() + s.length);
    adapter_.push_back(s.adapter);
    ordinal_.push_back(s.ordinal);
    group_rows_[s.adapter + 1] = cu_.back();
    group_sequences_[s.adapter + 1] = static_cast<int64_t>(adapter_.size());
  }
  for (int64_t k = 1; k <= adapters; ++k) {  // adapters without a sequence own an empty range
    group_rows_[k] = std::max(group_rows_[k], group_rows_[k - 1]);
    group_sequences_[k] = std::max(group_sequences_[k], group_sequences_[k - 1]);
  }
}

at::Tensor PackedBatch::position_T() const {
  if (!position_T_.defined()) position_T_ = device_copy(position_, device_);
  return position_T_;
}

int64_t PackedBatch::longest() const {
  int64_t longest = 0;
  for (int64_t b = 0; b < sequences(); ++b) longest = std::max(longest, length(b));
  return longest;
}

at::Tensor PackedBatch::cu_seqlens() const {
  if (!cu_seqlens_.defined()) cu_seqlens_ = device_copy(cu_, device_).to(at::kInt);
  return cu_seqlens_;
}

Batch PackedBatch::lengthened(int64_t extra) const {
  std::vector<Sequence> longer;
  longer.reserve(adapter_.size());
  for (int64_t b = 0; b < sequences(); ++b) longer.push_back({length(b) + extra, adapter_[b], ordinal_[b]});
  return std::make_shared<PackedBatch>(longer, adapters(), device_);
}

Batch PackedBatch::picked(int64_t offset) const {
  auto one = std::make_shared<PackedBatch>(PackedBatch());
  one->adapter_ = adapter_;
  one->ordinal_ = ordinal_;
  one->group_rows_ = group_sequences_;
  one->group_sequences_ = group_sequences_;
  one->device_ = device_;
  for (int64_t b = 0; b < sequences(); ++b) {
    one->cu_.push_back(b + 1);
    one->position_.push_back(offset);
  }
  return one;
}

at::Tensor PackedBatch::picked_rows(int64_t offset) const {
  std::vector<int64_t> rows;
  for (int64_t b = 0; b < sequences(); ++b) {
    if (offset >= length(b))  // on a device it would read another sequence
      throw_error("PackedBatch: row {} of sequence {}, which has {}", offset, b, length(b));
    rows.push_back(begin(b) + offset);
  }
  return device_copy(rows, device_);
}

}  // namespace peft
