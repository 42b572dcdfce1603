#pragma once
/// Dropout whose masks are named, not drawn: a function of (the adapter's seed, site, step, example, position, column). A bank, a
/// single run, any packing and any micro-batching see the same masks (docs/methods.md#the-bank).

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "peft/kernels/execution.h"
#include "peft/tensor/packed_batch.h"

namespace peft {

/// The names a step shares. Not training: every dropout is the identity.
struct DropoutContext {
  bool training = false;
  std::vector<uint64_t> seeds;  ///< [K]
  std::vector<int64_t> steps;   ///< [K]: adapters of a bank may be at different steps
};

/// One use of dropout. A site without a probability above 0, or outside training, is inactive.
struct DropoutSite {
  const DropoutContext* context = nullptr;
  std::string name;            ///< "encoder.3.ffn"
  std::vector<double> p = {};  ///< one for all, or one per adapter [K]
  double of(int64_t adapter) const { return p.size() == 1 ? p[0] : p[static_cast<std::size_t>(adapter)]; }
  bool active() const {
    return context != nullptr && context->training && std::any_of(p.begin(), p.end(), [](double x) { return x > 0.0; });
  }
};

/// x with every element kept with probability 1 - p and divided by 1 - p, p of the row's adapter.     x_TC, one row per row of `rows`
/// Differentiable. Custom kernel (row_dropout), which forms the same masks on the device: float32, bfloat16 or half, C a multiple of 8.
at::Tensor dropout(const at::Tensor& x_TC, const DropoutSite& site, const Batch& rows, const Execution& execution = {});

/// Multipliers (0 or 1/(1-p)) of the attention probabilities of sequence b: of `prefix` pairs, then of its `keys` own, whose masks do not
/// depend on the prefix.     [H, queries of b, prefix + keys], float32 on the CPU
at::Tensor attention_dropout_mask(const DropoutSite& site, const PackedBatch& queries, int64_t b, int64_t heads,
                                  int64_t prefix, int64_t keys);

}  // namespace peft
