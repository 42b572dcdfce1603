#pragma once
/// The two primitives that carry a bank of adapters: a product per contiguous row range, and rows put in front of each sequence.
/// T rows, C columns in, R columns out, K adapters, P virtual rows. Any floating dtype; both differentiable.

#include <ATen/core/Tensor.h>

#include <span>

#include "peft/tensor/packed_batch.h"

namespace peft {

/// y[t] = x[t] w[k] for the rows t in [groups[k], groups[k+1]).     x_TC, w_KCR -> y_TR; K = 1 is one plain product.
/// The gradient of w[k] depends on the rows of adapter k alone, and the product of a group on its own rows alone.
at::Tensor grouped_matmul(const at::Tensor& x_TC, const at::Tensor& w_KCR, const std::vector<int64_t>& groups);

/// y[t] = x[t] w[k]^T + b[k]: a bank of linear layers stored as torch.nn.Linear stores them.     w_KOC, b_KO (may be undefined)
at::Tensor grouped_linear(const at::Tensor& x_TC, const at::Tensor& w_KOC, const at::Tensor& b_KO,
                          const std::vector<int64_t>& groups);

/// One row of a [K, ...] tensor per sequence of `rows`: out[b] = bank[adapter[b]].
at::Tensor gather_adapters(const at::Tensor& bank, const PackedBatch& rows);

/// One number per adapter as a column: y[t] = values[adapter of row t].     [T, 1], type and device of `like`
at::Tensor rows_of_adapters(const std::vector<double>& values, const PackedBatch& rows, const at::Tensor& like);

/// The rows b[k] repeated for the rows of adapter k.     b_KO -> [T, O]; K = 1: [1, O], which broadcasts
at::Tensor grouped_rows(const at::Tensor& b_KO, const std::vector<int64_t>& groups);

/// P rows in front of every sequence: those of its adapter, or, with one slice per sequence, its own.     bank [K or B,P,C], x_TC -> [T + B P, C]
at::Tensor prepend_rows(const at::Tensor& bank_KPC, const at::Tensor& x_TC, const Batch& rows, const Batch& longer,
                        bool slice_per_sequence = false);

/// The same rows in the place of the first P rows of every sequence, whatever those hold.     -> [T, C]
at::Tensor overwrite_rows(const at::Tensor& bank_KPC, const at::Tensor& x_TC, const Batch& rows,
                          bool slice_per_sequence = false);

}  // namespace peft
