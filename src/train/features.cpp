#include "peft/train/features.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "peft/train/interrupt.h"

namespace peft {

void FeatureCache::add(const Transformer& model, const EncodedSplit& split, std::size_t batches) {
  if (splits_.contains(&split)) return;
  const at::NoGradGuard no_grad;
  const DropoutContext no_dropout;
  Sockets frozen;
  std::vector<at::Tensor> parts;
  std::vector<int64_t> place(split.sequences());  // of each sequence among the parts
  int64_t done = 0;
  for (const std::vector<int64_t>& batch : length_batches(split, 0)) {
    if (InterruptGuard::requested()) return;
    if (parts.size() == batches) break;
    std::vector<BatchExample> examples;
    for (const int64_t example : batch) {
      examples.push_back({&split, example, 0, 0});
      for (int64_t j = 0; j < split.sequences(example); ++j) place[split.first_sequence(example) + j] = done++;
    }
    parts.push_back(model.pooled(make_input(examples, 1, model.device()), frozen, no_dropout));
  }
  if (parts.empty()) return;
  const at::Tensor index = at::tensor(at::ArrayRef<int64_t>(place), at::kLong).to(model.device());
  splits_[&split] = at::cat(parts).index_select(0, index);
}

bool FeatureCache::holds(const std::vector<BatchExample>& examples) const {
  return std::all_of(examples.begin(), examples.end(),
                     [&](const BatchExample& e) { return splits_.contains(e.split); });
}

at::Tensor FeatureCache::features(const std::vector<BatchExample>& examples) const {
  std::vector<at::Tensor> parts;
  for (auto first = examples.begin(); first != examples.end();) {  // runs of examples of one split
    std::vector<int64_t> index;
    auto last = first;
    for (; last != examples.end() && last->split == first->split; ++last)
      for (int64_t j = 0; j < last->sequences(); ++j) index.push_back(last->sequence(j));
    const at::Tensor& all = splits_.at(first->split);
    parts.push_back(all.index_select(0, at::tensor(at::ArrayRef<int64_t>(index), at::kLong).to(all.device())));
    first = last;
  }
  return at::cat(parts);
}

at::Tensor batch_logits(const Transformer& model, Method& method, const std::vector<BatchExample>& examples,
                        LogitRows rows, const DropoutContext& dropout, const FeatureCache& cache) {
  method.begin_pass(dropout);
  if (rows == LogitRows::target_tokens) {
    const TargetInput target = make_target_input(model.spec(), examples, method.adapters(), model.device());
    return model.logits(model.hidden(target.input, method, dropout, target.selection).x_SC);
  }
  if (rows == LogitRows::tokens) {
    const Hidden hidden = model.hidden(make_input(examples, method.adapters(), model.device()), method, dropout,
                                       select_read_tokens(examples));
    return model.head_logits(hidden.x_SC, hidden.rows, method, dropout);
  }
  if (!cache.holds(examples))
    return model.classify(make_input(examples, method.adapters(), model.device()), method, dropout);
  std::vector<PackedBatch::Sequence> single;
  for (const BatchExample& e : examples)
    for (int64_t j = 0; j < e.sequences(); ++j) single.push_back({1, e.adapter, e.ordinal + j});
  const auto batch = std::make_shared<const PackedBatch>(single, method.adapters(), model.device());
  return model.head_logits(cache.features(examples), batch, method, dropout);
}

}  // namespace peft
