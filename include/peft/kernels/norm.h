#pragma once
/// The norm of rows, and the residual addition in front of it. T rows, C columns.
///   layer_norm   y = (x - mean) / sqrt(mean((x - mean)^2) + eps) weight + bias     [Ba et al. 2016, arXiv:1607.06450]
///   rms_norm     y = x / sqrt(mean(x^2) + eps) weight                              [Zhang and Sennrich 2019, arXiv:1910.07467]

#include <ATen/core/Tensor.h>

#include "peft/kernels/dropout.h"
#include "peft/kernels/norm_kind.h"

namespace peft {

struct RowNorm {
  NormKind kind = NormKind::layer_norm;
  double eps = 1e-12;
  at::Tensor weight_C, bias_C;  ///< bias undefined: zeros
};

/// x [..., C] of any floating dtype; differentiable in x, weight and bias. rms_norm: statistics in float32 at least.
at::Tensor normalise(const at::Tensor& x, const RowNorm& norm);

struct NormedSum {
  at::Tensor y_TC, sum_TC;
};

/// s = x + dropout(branch)     y = normalise(s)
///
/// An undefined branch: s is x. The masks are named by `rows`, one row per row of x. Custom kernel (residual_norm): frozen weights,
/// float32, bfloat16 or half, C a multiple of 8 up to 8192. In one pass on the CPU, too: C a multiple of 16.
NormedSum normalised_sum(const at::Tensor& x_TC, const at::Tensor& branch_TC, const RowNorm& norm,
                         const DropoutSite& site, const Batch& rows, const Execution& execution = {});

}  // namespace peft
