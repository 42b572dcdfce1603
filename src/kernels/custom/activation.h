#pragma once
/// bias_activation and gated_activation on tensors. Private to src/kernels.

#include "src/kernels/cuda/common/rowmath.h"
#include "src/kernels/custom/dropout.h"

namespace peft::custom {

/// y = dropout(act(x + bias))     act: gelu, gelu_tanh, relu, silu; computed in float32 and rounded once
///
/// x_TF float32, bfloat16 or half, F a multiple of 8; bias_F, of the same type, is frozen and may be undefined. Dropout names its masks by
/// `rows`, one row per row of x. Throws Error for other shapes and types and for a bias that requires a gradient.
at::Tensor bias_activation(const at::Tensor& x_TF, const at::Tensor& bias_F, cuda::Activation act,
                           const DropoutSite& dropout = {}, const Batch& rows = nullptr);

/// out = dropout(act(gate) up)     act: silu (SwiGLU), gelu or gelu_tanh (GEGLU)     [Shazeer 2020, arXiv:2002.05202]
///
/// gate_TF and up_TF float32, bfloat16 or half, F a multiple of 8. Halves of one projection [T,2F] are read where they are.
/// Differentiable in both. Throws Error for other shapes and types, and for relu.
at::Tensor gated_activation(const at::Tensor& gate_TF, const at::Tensor& up_TF, cuda::Activation act,
                            const DropoutSite& dropout = {}, const Batch& rows = nullptr);

}  // namespace peft::custom
