#pragma once
/// small_xent on tensors. Private to src/kernels.

#include <ATen/core/Tensor.h>

namespace peft::custom {

/// Cross-entropy of few classes on selected rows and columns:
///   loss_i = w_i (log sum_j e^x_j - x_label)     x_j = logits[rows_i, columns_j], j < N, N = 1..1024     [R] float32
///
/// logits_TV   float32, bfloat16 or half; V > N where `columns` are the label words of a vocabulary
/// rows_R      integers; undefined: all T rows            columns_N  integers; undefined: all V columns
/// labels_R    integers, in 0..N-1                        weights_R  undefined: ones
/// A row of weight 0 is not read: loss and gradient are 0 whatever its label. Another label outside 0..N-1 gives NaN. Nothing is averaged.
/// Differentiable in the logits, with zeros for what was not selected; the gradient comes from the launch of the loss and is scaled in
/// backward. Rows and columns are not checked against the logits. Throws Error for other shapes and types.
at::Tensor small_xent(const at::Tensor& logits_TV, const at::Tensor& rows_R, const at::Tensor& columns_N,
                      const at::Tensor& labels_R, const at::Tensor& weights_R);

}  // namespace peft::custom
