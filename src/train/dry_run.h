#pragma once
/// Estimates of a dry run. Private to src/train.

#include <cstdint>

#include "peft/models/spec.h"

namespace peft {

/// What the backward pass keeps per token: hidden states, queries, keys and values, attention output, norms and feed-forward
/// activations of every layer (docs/kernels.md#what-a-frozen-backbone-allows). Grouped heads share their keys and values.
int64_t activation_bytes_per_token(const StackSpec& stack, int64_t element_bytes);

}  // namespace peft
