#pragma once
/// Pooled rows of whole splits under the frozen network, each computed once: all that a method needs which trains nothing below the head.

#include <ATen/core/Tensor.h>

#include <map>
#include <vector>

#include "peft/methods/method.h"
#include "peft/train/batch.h"

namespace peft {

class FeatureCache {
 public:
  /// Reads all rows of a split, in batches that depend on nothing else: a resumed run reads the same bits. A split that is there already is
  /// left alone, one that an InterruptGuard's signal cut short is not kept.
  void add(const Transformer& model, const EncodedSplit& split);
  /// Whether every row is there.
  bool holds(const std::vector<BatchRow>& rows) const;
  at::Tensor features(const std::vector<BatchRow>& rows) const;  ///< [B,C]

 private:
  std::map<const EncodedSplit*, at::Tensor> splits_;  // [rows,C] on the model's device
};

/// Logits of a batch: from the cache where it holds all rows, else through the whole network. Rows must be sorted by adapter.     -> [B,N]
at::Tensor classify_rows(const Transformer& model, Method& method, const std::vector<BatchRow>& rows,
                         const DropoutContext& dropout, const FeatureCache& cache);

}  // namespace peft
