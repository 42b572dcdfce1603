#pragma once
/// residual_norm on tensors. Private to src/kernels.

#include "peft/kernels/norm.h"
#include "src/kernels/cuda/common/norm.h"
#include "src/kernels/custom/dropout.h"

namespace peft::custom {

struct FrozenNorm {
  cuda::NormKind kind = cuda::NormKind::layer_norm;  ///< layer_norm or rms_norm: formulas in cuda/common/norm.h
  double eps = 1e-12;
  at::Tensor weight_C = {}, bias_C = {};  ///< undefined: ones, zeros
};

FrozenNorm frozen_norm(const RowNorm& norm);

/// s = x + dropout(branch + bias), rounded to the element type     y = norm(s)
///
/// x_TC, branch_TC and what it gives are of one type: float32, bfloat16 or half; C a multiple of 8 up to 8192. bias_C may be undefined.
/// An undefined branch: y = norm(x) and s is x. Dropout names its masks by `rows`, one row per row of x.
/// Differentiable in x and branch, through y and s: a gradient of s from elsewhere is added in the same pass. bias and the norm's
/// weights are frozen. Throws Error for other shapes and types, a weight that requires a gradient, and a bias or dropout without a branch.
NormedSum residual_norm(const at::Tensor& x_TC, const at::Tensor& branch_TC, const at::Tensor& bias_C,
                        const FrozenNorm& norm, const DropoutSite& dropout = {}, const Batch& rows = nullptr);

}  // namespace peft::custom
