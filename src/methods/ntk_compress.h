#pragma once
/// From a trained prefix to the state that stands for it. Private to src/methods.

#include <ATen/core/Tensor.h>

#include <utility>
#include <vector>

#include "peft/methods/adapter.h"
#include "peft/models/spec.h"

namespace peft {

/// The pairs of a folder in peft's PREFIX_TUNING layout, float64; `layers` those that have pairs.
struct PrefixPairs {
  at::Tensor k_LPGD, v_LPGD;
  std::vector<int64_t> layers;
  int64_t shift = 0;  ///< text positions start here: P, or 0 where the prefix left them alone
};

/// Throws ConfigError naming method.prefix_from: another type, other layers, heads or widths, pairs with a position bias.
PrefixPairs read_prefix_pairs(const AdapterFiles& files, const StackSpec& stack);

/// The nearest product of rank R in the Frobenius norm, both factors of the same size: U sqrt(S), sqrt(S) V^T.
/// z [..., M, D] -> [..., M, R], [..., R, D]
std::pair<at::Tensor, at::Tensor> low_rank(const at::Tensor& z, int64_t rank);

}  // namespace peft
