#include "peft/train/batch.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "peft/base/error.h"

namespace peft {

std::vector<std::vector<int64_t>> length_batches(const EncodedSplit& split, int64_t extra) {
  constexpr int64_t kTokens = 4096;
  std::vector<int64_t> order(split.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return split.tokens(a) > split.tokens(b); });
  std::vector<std::vector<int64_t>> batches;
  int64_t tokens = kTokens;
  for (const int64_t example : order) {
    const int64_t length = split.tokens(example) + extra * split.sequences(example);
    if (tokens + length > kTokens) {
      batches.emplace_back();
      tokens = 0;
    }
    batches.back().push_back(example);
    tokens += length;
  }
  return batches;
}

int64_t BatchExample::tokens() const {
  if (chosen.empty()) return split->tokens(example);
  int64_t sum = 0;
  for (int64_t j = 0; j < sequences(); ++j) sum += split->sequence_length(sequence(j));
  return sum;
}

ModelInput make_input(const std::vector<BatchExample>& examples, int64_t adapters, at::Device device) {
  std::vector<PackedBatch::Sequence> sequences;
  int64_t tokens = 0;
  for (const BatchExample& e : examples) {
    for (int64_t j = 0; j < e.sequences(); ++j) {
      sequences.push_back({e.split->sequence_length(e.sequence(j)), e.adapter, e.ordinal + j});
      tokens += e.split->sequence_length(e.sequence(j));
    }
  }
  const auto options = at::TensorOptions().dtype(at::kLong);
  at::Tensor ids = at::empty({tokens}, options), types = at::empty({tokens}, options);
  auto *id = ids.data_ptr<int64_t>(), *type = types.data_ptr<int64_t>();
  for (const BatchExample& e : examples) {
    for (int64_t j = 0; j < e.sequences(); ++j) {
      const auto given = e.split->sequence_ids(e.sequence(j));
      const auto types_given = e.split->sequence_types(e.sequence(j));
      id = std::copy(given.begin(), given.end(), id);
      type = std::copy(types_given.begin(), types_given.end(), type);
    }
  }
  return {ids.to(device), types.to(device), std::make_shared<PackedBatch>(sequences, adapters, device)};
}

Selection select_read_tokens(const std::vector<BatchExample>& examples) {
  Selection selection{.rows = Selection::Rows::chosen};
  int64_t begin = 0;
  for (const BatchExample& e : examples) {
    for (const int64_t token : e.split->read_tokens(e.example)) selection.chosen.push_back(begin + token);
    begin += e.split->length(e.example);
  }
  if (static_cast<int64_t>(selection.chosen.size()) == begin) selection = {.rows = Selection::Rows::all};
  return selection;
}

namespace {

/// Sequences that are put together from parts.
class TokenBuilder {
 public:
  void add(std::span<const int32_t> ids) { ids_.insert(ids_.end(), ids.begin(), ids.end()); }
  void end(int64_t adapter, int64_t ordinal) {
    sequences_.push_back({tokens() - begin_, adapter, ordinal});
    begin_ = tokens();
  }
  int64_t tokens() const { return static_cast<int64_t>(ids_.size()); }
  Tokens build(int64_t adapters, at::Device device) const {
    const at::Tensor ids = at::tensor(at::ArrayRef<int64_t>(ids_), at::kLong).to(device);
    return {ids, at::zeros_like(ids), std::make_shared<const PackedBatch>(sequences_, adapters, device)};
  }

 private:
  std::vector<int64_t> ids_;
  std::vector<PackedBatch::Sequence> sequences_;
  int64_t begin_ = 0;
};

}  // namespace

TargetInput make_target_input(const ModelSpec& spec, const std::vector<BatchExample>& examples, int64_t adapters,
                              at::Device device) {
  const bool one_stack = spec.stacks.size() == 1;
  TokenBuilder source, target;
  TargetInput result;
  for (const BatchExample& e : examples) {
    const EncodedSplit& split = *e.split;
    const int64_t begin = split.offsets[split.first_sequence(e.example)];
    const auto given = std::span(split.ids).subspan(begin, split.length(e.example)),
               wanted = split.example_target_ids(e.example),
               read = wanted.first(wanted.empty() ? 0 : wanted.size() - 1);
    const auto start = static_cast<int32_t>(spec.decoder_start);
    TokenBuilder& predicts = one_stack ? source : target;
    source.add(given);
    if (!one_stack && !wanted.empty()) target.add({&start, 1});
    if (one_stack && given.empty() && !wanted.empty())
      throw_error<DataError>("{}: idx {}: a target without a token in front of it", split.statistics.files.front(),
                             split.idx[e.example]);
    for (std::size_t t = 0; t < wanted.size(); ++t)
      result.selection.chosen.push_back(predicts.tokens() - 1 + static_cast<int64_t>(t));
    predicts.add(read);
    source.end(e.adapter, e.ordinal);
    target.end(e.adapter, e.ordinal);
  }
  result.selection.rows = Selection::Rows::chosen;
  result.input.source = source.build(adapters, device);
  if (!one_stack) result.input.target = target.build(adapters, device);
  return result;
}

void check_targets(const Objective& objective, const EncodedSplit& split, const ModelSpec& spec,
                   int64_t virtual_tokens) {
  const bool one_stack = spec.stacks.size() == 1;
  const int64_t usable = spec.last().embedding.usable_positions() - (one_stack ? virtual_tokens : 0);
  objective.check_targets(split, spec.embedding().vocabulary, usable, one_stack);
}

}  // namespace peft
