#pragma once
/// Cross entropy of a few classes.

#include <ATen/core/Tensor.h>

#include <vector>

#include "peft/kernels/execution.h"

namespace peft {

/// loss[b] = log sum_n e^logits[b, n] - logits[b, label_b].     logits_BN -> [B], differentiable
/// Custom kernel (small_xent), loss and gradient in one launch: up to 1024 classes, not float64.
at::Tensor cross_entropy(const at::Tensor& logits_BN, const std::vector<int64_t>& labels,
                         const Execution& execution = {});

}  // namespace peft
