#pragma once
/// Pooled tokens of whole splits under the frozen network, each computed once. A method that trains nothing below the head needs no more.

#include <ATen/core/Tensor.h>

#include <limits>
#include <map>
#include <vector>

#include "peft/methods/method.h"
#include "peft/objectives/objective.h"
#include "peft/train/batch.h"

namespace peft {

class FeatureCache {
 public:
  /// Reads all sequences of a split, in batches that depend on nothing else: a resumed run reads the same bits. A split that is there
  /// already is left alone, one that an InterruptGuard's signal cut short is not kept.
  /// `batches`: how many of them; a dry run reads one and lets its rows stand for the others.
  void add(const Transformer& model, const EncodedSplit& split,
           std::size_t batches = std::numeric_limits<std::size_t>::max());
  bool empty() const { return splits_.empty(); }
  /// Whether every example is there.
  bool holds(const std::vector<BatchExample>& examples) const;
  at::Tensor features(const std::vector<BatchExample>& examples) const;  ///< [B,C], a row for each of their sequences

 private:
  std::map<const EncodedSplit*, at::Tensor> splits_;  // [sequences,C] on the model's device
};

/// Logits of a batch, the rows that an objective reads. Examples must be sorted by adapter.
/// LogitRows::sequences: [B,N], a row for each of their sequences, from the cache where it holds all examples, else through the whole network.
/// LogitRows::tokens: [R,N], a row for each token that is read. LogitRows::target_tokens: [target tokens, V].
at::Tensor batch_logits(const Transformer& model, Method& method, const std::vector<BatchExample>& examples,
                        LogitRows rows, const DropoutContext& dropout, const FeatureCache& cache);

}  // namespace peft
