#include "peft/train/batch.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "peft/kernels/cross_entropy.h"

namespace peft {

std::vector<std::vector<int64_t>> length_batches(const EncodedSplit& split, int64_t extra) {
  constexpr int64_t kTokens = 4096;
  std::vector<int64_t> order(split.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return split.length(a) > split.length(b); });
  std::vector<std::vector<int64_t>> batches;
  int64_t tokens = kTokens;
  for (const int64_t row : order) {
    const int64_t length = split.length(row) + extra;
    if (tokens + length > kTokens) {
      batches.emplace_back();
      tokens = 0;
    }
    batches.back().push_back(row);
    tokens += length;
  }
  return batches;
}

ModelInput make_input(const std::vector<BatchRow>& rows, int64_t adapters, at::Device device) {
  std::vector<PackedBatch::Sequence> sequences;
  int64_t tokens = 0;
  for (const BatchRow& r : rows) {
    sequences.push_back({r.split->length(r.row), r.adapter, r.ordinal});
    tokens += sequences.back().length;
  }
  const auto options = at::TensorOptions().dtype(at::kLong);
  at::Tensor ids = at::empty({tokens}, options), types = at::empty({tokens}, options);
  auto *id = ids.data_ptr<int64_t>(), *type = types.data_ptr<int64_t>();
  for (const BatchRow& r : rows) {
    id = std::copy(r.split->row_ids(r.row).begin(), r.split->row_ids(r.row).end(), id);
    type = std::copy(r.split->row_types(r.row).begin(), r.split->row_types(r.row).end(), type);
  }
  return {ids.to(device), types.to(device), std::make_shared<PackedBatch>(sequences, adapters, device)};
}

at::Tensor sequence_losses(const at::Tensor& logits, const std::vector<double>& labels, bool regression,
                           const Execution& execution) {
  if (regression) {
    const at::Tensor scores = at::tensor(at::ArrayRef<double>(labels)).to(logits.options());
    return at::square(logits.squeeze(1) - scores);
  }
  return cross_entropy(logits, {labels.begin(), labels.end()}, execution);
}

}  // namespace peft
