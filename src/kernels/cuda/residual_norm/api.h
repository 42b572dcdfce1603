#pragma once
/// Residual addition, dropout and norm with frozen weights in one pass each way. No torch, no CUDA header.
///
///   s = x + dropout(branch + bias), rounded to the element type     y = norm(s)                 norm and its weights: common/norm.h
/// y is a function of s as stored, so that it can be computed again from s alone: without a branch, y = norm(x).
/// Backward, with g = gamma dy and everything else frozen:
///   ds = rstd (g - mean(g) - xhat mean(g xhat)) + dresidual         (rms_norm: without mean(g))
///   dx = ds        dbranch = dropout's mask and scale times ds      (without dropout it is dx, and not written)
///
/// T rows of C columns, contiguous, of one element type; C a multiple of 8 up to 8192; pointers 16-byte aligned. Statistics are float32.
/// An output may be the memory of any input of its own shape. Dropout: common/dropout.h.

#include <cstdint>

#include "src/kernels/cuda/common/dropout.h"
#include "src/kernels/cuda/common/element.h"
#include "src/kernels/cuda/common/norm.h"

namespace peft::cuda {

struct ResidualNormForward {
  const void* x = nullptr;                 ///< [T,C]
  const void* branch = nullptr;            ///< [T,C]; null: y = norm(x)
  const void* bias = nullptr;              ///< [C] or null
  void* sum = nullptr;                     ///< [T,C] s; null: not wanted
  void* y = nullptr;                       ///< [T,C]
  float *mean = nullptr, *rstd = nullptr;  ///< [T]; null: not wanted. No mean for rms_norm
  int64_t rows = 0;
  int32_t columns = 0;
  FrozenNorm norm = {};
  NamedDropout dropout = {};
};

struct ResidualNormBackward {
  const void* dy = nullptr;                      ///< [T,C]
  const void* sum = nullptr;                     ///< [T,C] s
  const float *mean = nullptr, *rstd = nullptr;  ///< [T]; mean is not read for rms_norm
  const void* dresidual = nullptr;               ///< [T,C] gradient of s from elsewhere, or null
  void* dx = nullptr;                            ///< [T,C]
  void* dbranch = nullptr;                       ///< [T,C]; null: not wanted
  int64_t rows = 0;
  int32_t columns = 0;
  FrozenNorm norm = {};
  NamedDropout dropout = {};
};

/// 0, or CUDA's error number.
int residual_norm_forward(const ResidualNormForward& arguments, Element type, void* stream);
int residual_norm_backward(const ResidualNormBackward& arguments, Element type, void* stream);

}  // namespace peft::cuda
