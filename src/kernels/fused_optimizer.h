#pragma once
/// The steps of peft/kernels/optimizer.h by torch's fused operators: what serves a GPU. Private to src/kernels and its tests.

#include "peft/kernels/optimizer.h"

namespace peft {

/// At least one slice.
void fused_adamw_step(const AdamWSlices& slices, const AdamW& options);
double fused_sum_of_squares(const std::vector<at::Tensor>& slices);

}  // namespace peft
