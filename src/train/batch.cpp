#include "peft/train/batch.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

namespace peft {

std::vector<std::vector<int64_t>> length_batches(const EncodedSplit& split, int64_t extra) {
  constexpr int64_t kTokens = 4096;
  std::vector<int64_t> order(split.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return split.length(a) > split.length(b); });
  std::vector<std::vector<int64_t>> batches;
  int64_t tokens = kTokens;
  for (const int64_t example : order) {
    const int64_t length = split.length(example) + extra * split.sequences(example);
    if (tokens + length > kTokens) {
      batches.emplace_back();
      tokens = 0;
    }
    batches.back().push_back(example);
    tokens += length;
  }
  return batches;
}

ModelInput make_input(const std::vector<BatchExample>& examples, int64_t adapters, at::Device device) {
  std::vector<PackedBatch::Sequence> sequences;
  int64_t tokens = 0;
  for (const BatchExample& e : examples) {
    const int64_t first = e.split->first_sequence(e.example);
    for (int64_t j = 0; j < e.sequences(); ++j)
      sequences.push_back({e.split->sequence_length(first + j), e.adapter, e.ordinal + j});
    tokens += e.split->length(e.example);
  }
  const auto options = at::TensorOptions().dtype(at::kLong);
  at::Tensor ids = at::empty({tokens}, options), types = at::empty({tokens}, options);
  auto *id = ids.data_ptr<int64_t>(), *type = types.data_ptr<int64_t>();
  for (const BatchExample& e : examples) {
    const auto begin = e.split->offsets[e.split->first_sequence(e.example)];
    id = std::copy_n(e.split->ids.begin() + begin, e.split->length(e.example), id);
    type = std::copy_n(e.split->types.begin() + begin, e.split->length(e.example), type);
  }
  return {ids.to(device), types.to(device), std::make_shared<PackedBatch>(sequences, adapters, device)};
}

}  // namespace peft
