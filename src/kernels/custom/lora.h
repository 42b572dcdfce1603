#pragma once
/// A bank of low-rank additions to frozen linear maps by our own kernels (grouped_matmul).     [Hu et al. 2021, arXiv:2106.09685]
/// T rows, K adapters, C columns in, O out, rank R. Private to src/kernels.

#include "peft/tensor/packed_batch.h"

namespace peft::custom {

/// y[t] = scale[k] (x[t] A[k]) B[k] for the rows t of adapter k.     x_TC, a_KCR, b_KRO, scale_K -> y_TO in x's type
///
/// x is bfloat16, half or float32. A and B are read in x's type and x A is rounded to it; sums run in float32. scale_K: float32, a constant,
/// on x's device. Differentiable in x, A and B; the gradients of A and B are summed in float32, those of an adapter without rows are zero.
/// An adapter's rows and gradients are bitwise those of a batch without the others.
/// Throws Error when shapes contradict each other or `rows`, when C or O is not a multiple of 8, R is not in 1..128 or x is of another type.
at::Tensor lora_addition(const at::Tensor& x_TC, const at::Tensor& a_KCR, const at::Tensor& b_KRO,
                         const at::Tensor& scale_K, const Batch& rows);

}  // namespace peft::custom
