#include "peft/train/features.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "peft/train/interrupt.h"

namespace peft {

void FeatureCache::add(const Transformer& model, const EncodedSplit& split) {
  if (splits_.contains(&split)) return;
  const at::NoGradGuard no_grad;
  const DropoutContext no_dropout;
  Sockets frozen;
  std::vector<at::Tensor> parts;
  std::vector<int64_t> place(split.size());  // of each row among the parts
  int64_t done = 0;
  for (const std::vector<int64_t>& batch : length_batches(split, 0)) {
    if (InterruptGuard::requested()) return;
    std::vector<BatchRow> rows;
    for (const int64_t row : batch) {
      rows.push_back({&split, row, 0, 0});
      place[row] = done++;
    }
    parts.push_back(model.pooled(make_input(rows, 1, model.device()), frozen, no_dropout));
  }
  if (parts.empty()) return;
  const at::Tensor index = at::tensor(at::ArrayRef<int64_t>(place), at::kLong).to(model.device());
  splits_[&split] = at::cat(parts).index_select(0, index);
}

bool FeatureCache::holds(const std::vector<BatchRow>& rows) const {
  return std::all_of(rows.begin(), rows.end(), [&](const BatchRow& r) { return splits_.contains(r.split); });
}

at::Tensor FeatureCache::features(const std::vector<BatchRow>& rows) const {
  std::vector<at::Tensor> parts;
  for (auto first = rows.begin(); first != rows.end();) {  // runs of rows of one split
    std::vector<int64_t> index;
    auto last = first;
    for (; last != rows.end() && last->split == first->split; ++last) index.push_back(last->row);
    const at::Tensor& all = splits_.at(first->split);
    parts.push_back(all.index_select(0, at::tensor(at::ArrayRef<int64_t>(index), at::kLong).to(all.device())));
    first = last;
  }
  return at::cat(parts);
}

at::Tensor classify_rows(const Transformer& model, Method& method, const std::vector<BatchRow>& rows,
                         const DropoutContext& dropout, const FeatureCache& cache) {
  method.begin_pass(dropout);
  if (!cache.holds(rows)) return model.classify(make_input(rows, method.adapters(), model.device()), method, dropout);
  std::vector<PackedBatch::Sequence> single;
  for (const BatchRow& r : rows) single.push_back({1, r.adapter, r.ordinal});
  const auto batch = std::make_shared<const PackedBatch>(single, method.adapters(), model.device());
  return model.head_logits(cache.features(rows), batch, method, dropout);
}

}  // namespace peft
