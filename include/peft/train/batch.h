#pragma once
/// Rows of encoded splits to one packed batch on the device, and the losses of its logits.

#include <ATen/core/Tensor.h>

#include <vector>

#include "peft/data/dataset.h"
#include "peft/models/transformer.h"

namespace peft {

/// One sequence of a batch: a row of a split, for an adapter of the bank.
struct BatchRow {
  const EncodedSplit* split = nullptr;
  int64_t row = 0;
  int64_t adapter = 0;
  int64_t ordinal = 0;  ///< number of the example in its adapter's step
};

/// All rows of a split, longest first, in batches of a few thousand tokens: enough to keep the products large, small enough to stay in the
/// processor's caches. `extra` tokens join every row.
std::vector<std::vector<int64_t>> length_batches(const EncodedSplit& split, int64_t extra);

/// Rows must be sorted by adapter.
ModelInput make_input(const std::vector<BatchRow>& rows, int64_t adapters, at::Device device);

/// Loss of each sequence, differentiable: cross entropy of logits [B,N] against class ids, or the squared error of [B,1] for regression.
at::Tensor sequence_losses(const at::Tensor& logits, const std::vector<double>& labels, bool regression,
                           const Execution& execution = {});

}  // namespace peft
