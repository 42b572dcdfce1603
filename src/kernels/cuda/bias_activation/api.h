#pragma once
/// Bias and activation in one pass, for matrix products without such an epilogue. No torch, no CUDA header.
///
///   y = dropout(act(x + bias))                act: gelu, gelu_tanh, relu, silu
///   dx = g act'(x + bias)                     g: dropout's mask and scale times dy; bias is frozen
///
/// T rows of F columns, contiguous, F a multiple of 8; pointers 16-byte aligned. x is what the matrix product gave; x + bias is computed
/// again in backward, in float32 and not rounded. Dropout: common/dropout.h.

#include <cstdint>

#include "src/kernels/cuda/common/dropout.h"
#include "src/kernels/cuda/common/element.h"
#include "src/kernels/cuda/common/rowmath.h"

namespace peft::cuda {

struct BiasActivationForward {
  const void* x = nullptr;     ///< [T,F]
  const void* bias = nullptr;  ///< [F] or null
  void* y = nullptr;           ///< [T,F]; may be x's memory
  int64_t rows = 0;
  int32_t columns = 0;
  NamedDropout dropout = {};
};

struct BiasActivationBackward {
  const void* dy = nullptr;    ///< [T,F]
  const void* x = nullptr;     ///< [T,F]
  const void* bias = nullptr;  ///< [F] or null
  void* dx = nullptr;          ///< [T,F]; may be dy's or x's memory
  void* y = nullptr;  ///< [T,F]: the forward's output once more, for an adapter on the next map; null: not wanted
  int64_t rows = 0;
  int32_t columns = 0;
  NamedDropout dropout = {};
};

/// 0, or CUDA's error number.
int bias_activation_forward(const BiasActivationForward& arguments, Activation kind, Element type, void* stream);
int bias_activation_backward(const BiasActivationBackward& arguments, Activation kind, Element type, void* stream);

}  // namespace peft::cuda
