#pragma once
/// Predictions from rows of logits. Private to src/objectives.

#include <ATen/core/Tensor.h>

#include <span>
#include <vector>

#include "peft/data/encoded_split.h"

namespace peft {

/// The logits of an example's sequences, [sequences * N].
std::span<const float> example_logits(const at::Tensor& logits_SN, const EncodedSplit& split, int64_t example);

bool all_finite(std::span<const float> values);

/// For each example the place of the largest of its logits, the first of equal ones; nothing where one is not finite.
std::vector<Target> largest_of_each(const at::Tensor& logits_SN, const EncodedSplit& split);

/// Whether all predictions are the same although the references are not.
bool all_alike(const std::vector<Target>& predictions, const EncodedSplit& split);

}  // namespace peft
