#pragma once
/// Predictions from rows of logits. Private to src/objectives.

#include <ATen/core/Tensor.h>

#include <span>
#include <vector>

#include "peft/data/encoded_split.h"

namespace peft {

/// Scores of several groups side by side; a group with fewer than others ends in -infinity.     scores_R, offsets [G+1] -> [G, most]
at::Tensor side_by_side(const at::Tensor& scores_R, const std::vector<int64_t>& offsets);

/// The logits of an example's sequences or tokens, [rows * N].
std::span<const float> example_logits(const at::Tensor& logits_SN, const EncodedSplit& split, int64_t example);

bool all_finite(std::span<const float> values);

/// For each example the place of the largest of its logits, the first of equal ones; nothing where one is not finite.
std::vector<Target> largest_of_each(const at::Tensor& logits_SN, const EncodedSplit& split);

/// Whether all predictions are the same although the references are not.
bool all_alike(const std::vector<Target>& predictions, const EncodedSplit& split);

}  // namespace peft
