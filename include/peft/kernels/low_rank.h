#pragma once
/// A bank of low-rank additions to frozen linear maps.     [Hu et al. 2021, arXiv:2106.09685]
/// T rows, K adapters, C columns in, O out, rank R.

#include <ATen/core/Tensor.h>

#include <vector>

#include "peft/kernels/dropout.h"

namespace peft {

struct LowRankBank {
  at::Tensor a_KCR, b_KRO;
  std::vector<double> scales;  ///< [K]
  at::Tensor scale_K;          ///< the same, float32 on the device of `a`
};

/// y[t] = scales[k] (dropout(x[t]) A[k]) B[k] for the rows t of adapter k.     x_TC -> [T, O]
///
/// Computed in the type of A. The masks are named by `rows`. Differentiable in x, A and B. Custom kernels (grouped_matmul), where
/// they serve, in the type of x with sums in float32: float32, bfloat16 or half, C and O multiples of 8, R up to 128.
at::Tensor low_rank_addition(const LowRankBank& bank, const at::Tensor& x_TC, const DropoutSite& site,
                             const Batch& rows, const Execution& execution = {});

}  // namespace peft
