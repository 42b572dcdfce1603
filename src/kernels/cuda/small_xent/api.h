#pragma once
/// Cross-entropy of few classes, loss and gradient in one launch on selected rows. No torch, no CUDA header.
///
///   x_j = logits[r, column_j]     loss = w (log sum_j e^x_j - x_label)     dlogits_j = w (softmax(x)_j - [j = label])
/// for the selected rows r = row[i] and classes j < N, N = 1..1024. Label words: column_j are the words of a vocabulary, so the logits may
/// be those of a whole language-model head. Results are compact, one row of N for each selected one, whatever the logits' layout.
///
/// weight 0: an ignored row; its logits and label are not read, its loss and gradient are 0. With another weight, a label outside 0..N-1
/// gives NaN, which the optimiser's guard sees. w holds the division by the number of examples: nothing is averaged here.
/// float32 inside. Confident rows keep their relative precision: loss and the label's gradient come from the sum over the other classes.

#include <cstdint>

#include "src/kernels/cuda/common/element.h"

namespace peft::cuda {

struct SmallXent {
  const void* logits;  ///< rows of `logits_stride` elements
  int64_t logits_stride;
  const int32_t* row;      ///< [rows] rows of the logits; null: 0, 1, ...
  const int32_t* column;   ///< [N] columns of the classes; null: 0..N-1
  const int32_t* label;    ///< [rows] classes
  const float* weight;     ///< [rows]; null: ones
  float* loss;             ///< [rows]
  void* dlogits;           ///< [rows,N], rows `dlogits_stride` apart, of the logits' type; null: loss only.
  int64_t dlogits_stride;  ///< May be the logits' memory when row and column are null and the strides are equal
  int32_t rows, classes;
};

constexpr int32_t kMaxClasses = 1024;

/// 0, or CUDA's error number.
int small_xent(const SmallXent& arguments, Element type, void* stream);

}  // namespace peft::cuda
