#include "peft/tensor/packed_batch.h"

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
    for (int64_t i = 0; i < s.length; ++i) index_.push_back(i);
    cu_.push_back(cu_.back() + s.length);
    adapter_.push_back(s.adapter);
    ordinal_.push_back(s.ordinal);
    start_.push_back(s.start);
    group_rows_[s.adapter + 1] = cu_.back();
    group_sequences_[s.adapter + 1] = static_cast<int64_t>(adapter_.size());
  }
  for (int64_t k = 1; k <= adapters; ++k) {  // adapters without a sequence own an empty range
    group_rows_[k] = std::max(group_rows_[k], group_rows_[k - 1]);
    group_sequences_[k] = std::max(group_sequences_[k], group_sequences_[k - 1]);
  }
}

at::Tensor PackedBatch::position_T() const {
  if (!position_T_.defined()) {
    std::vector<int64_t> positions = index_;
    for (int64_t b = 0; b < sequences(); ++b) {
      for (int64_t t = begin(b); t < begin(b) + length(b); ++t) positions[t] += start_[b];
    }
    position_T_ = device_copy(positions, device_);
  }
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
  for (int64_t b = 0; b < sequences(); ++b) longer.push_back({length(b) + extra, adapter_[b], ordinal_[b], start_[b]});
  return std::make_shared<PackedBatch>(longer, adapters(), device_);
}

Batch PackedBatch::starting_at(const std::vector<int64_t>& start) const {
  if (static_cast<int64_t>(start.size()) != sequences() ||
      std::any_of(start.begin(), start.end(), [](int64_t first) { return first < 0; }))
    throw_error("packed batch: {} starts for {} sequences, or one below 0", start.size(), sequences());
  auto other = std::make_shared<PackedBatch>(*this);
  other->start_ = start;
  other->position_T_ = at::Tensor();
  other->derived_.clear();
  return other;
}

Batch PackedBatch::select(const std::vector<int64_t>& rows) const {
  auto some = std::make_shared<PackedBatch>(PackedBatch());
  some->adapter_ = adapter_;
  some->ordinal_ = ordinal_;
  some->start_ = start_;
  some->group_rows_.assign(group_rows_.size(), 0);
  some->group_sequences_ = group_sequences_;
  some->device_ = device_;
  std::size_t next = 0;
  for (int64_t b = 0; b < sequences(); ++b) {
    for (; next < rows.size() && rows[next] < cu_[b + 1]; ++next) {
      if (rows[next] < cu_[b] || (next > 0 && rows[next] <= rows[next - 1])) break;
      some->index_.push_back(index_[rows[next]]);
    }
    some->cu_.push_back(static_cast<int64_t>(next));
  }
  if (next != rows.size())  // on a device it would read another sequence
    throw_error("PackedBatch: row {} of {} is out of range or out of order", rows[next], this->rows());
  for (std::size_t k = 0; k < group_rows_.size(); ++k) some->group_rows_[k] = some->cu_[group_sequences_[k]];
  return some;
}

Batch PackedBatch::one_each() const {
  std::vector<Sequence> single;
  for (int64_t b = 0; b < sequences(); ++b) single.push_back({1, adapter_[b], ordinal_[b]});
  return std::make_shared<PackedBatch>(single, adapters(), device_);
}

at::Tensor row_numbers(const std::vector<int64_t>& numbers, const PackedBatch& rows) {
  return device_copy(numbers, rows.device());
}

}  // namespace peft
