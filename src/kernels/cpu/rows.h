#pragma once
/// Operations on rows that drop on the way, on the CPU: the masks are drawn inside the one pass over the rows, forward and backward, and
/// nothing of them is kept. No torch. Private to src/kernels.
/// T rows, C columns.

#include <cstdint>

#include "src/kernels/cpu/element.h"
#include "src/kernels/cpu/mask_names.h"

namespace peft::cpu {

/// What names the mask of a row.
struct RowName {
  uint32_t position = 0, ordinal = 0;
  int64_t adapter = 0;
};

struct RowMasks {
  const RowName* rows = nullptr;     ///< [T]
  const MaskNames* masks = nullptr;  ///< [K]; null: nothing is dropped
};

/// s = x + dropout(branch)     y = (s - mean(s)) rstd weight + bias, or with `rms` y = s rstd weight,
/// rstd = 1 / sqrt(variance(s) + eps), or 1 / sqrt(mean(s^2) + eps). C is a multiple of 16.
struct ResidualNorm {
  Element element = Element::f32;
  int64_t columns = 0;
  double eps = 0.0;
  bool rms = false;
  RowMasks masks;
  const void *x = nullptr, *branch = nullptr;      ///< [T,C]; no branch: null
  const float *weight = nullptr, *bias = nullptr;  ///< [C]; no bias: null
  void *sum = nullptr, *y = nullptr;               ///< [T,C]; no branch: `sum` is null, x is it
  float *mean = nullptr, *rstd = nullptr;          ///< [T]
};

/// Gradients of x and branch for frozen weights, from those of y and, unless null, of s. ResidualNorm::x is s here, and there is no branch.
struct ResidualNormGradients {
  const void *dy = nullptr, *dsum = nullptr;  ///< [T,C]
  void *dx = nullptr, *dbranch = nullptr;     ///< [T,C]; dbranch null: dx is that of the branch, too
};

/// Of rows [first, last). float64 is not served by the norm.
struct RowKernel {
  void (*dropout)(Element element, const RowMasks&, const void* x, void* y, int64_t columns, int64_t first,
                  int64_t last);
  void (*norm)(const ResidualNorm&, int64_t first, int64_t last);
  void (*norm_backward)(const ResidualNorm&, const ResidualNormGradients&, int64_t first, int64_t last);
};

}  // namespace peft::cpu
