#pragma once
/// Gated feed-forward activations, forward and backward. No torch, no CUDA header.
///
///   out = dropout(act(gate) up)         act: silu (SwiGLU), gelu or gelu_tanh (GEGLU)      [Shazeer 2020, arXiv:2002.05202]
/// Backward, with g = dropout's mask and scale times dout, written over gate and up:
///   gate <- g up act'(gate)             up <- g act(gate)
///
/// T rows of F columns, F a multiple of 8. gate and up may be two slices of one projection [T,2F]; strides are in elements, multiples of
/// 8; pointers 16-byte aligned. Values are computed in float32 from the stored elements and rounded once. Dropout: common/dropout.h.

#include <cstdint>

#include "src/kernels/cuda/common/dropout.h"
#include "src/kernels/cuda/common/element.h"
#include "src/kernels/cuda/common/rowmath.h"

namespace peft::cuda {

struct GatedActivationForward {
  const void *gate = nullptr, *up = nullptr;  ///< [T,F], rows `stride` apart
  int64_t stride = 0;
  void* out = nullptr;  ///< [T,F], contiguous
  int64_t rows = 0;
  int32_t columns = 0;
  NamedDropout dropout = {};
};

struct GatedActivationBackward {
  const void* dout = nullptr;           ///< [T,F], contiguous
  void *gate = nullptr, *up = nullptr;  ///< [T,F], rows `stride` apart: values in, gradients out
  int64_t stride = 0;
  void* out = nullptr;  ///< [T,F], contiguous: the forward's output once more, for an adapter on the next map; null:
                        ///< not wanted. May be dout's memory
  int64_t rows = 0;
  int32_t columns = 0;
  NamedDropout dropout = {};
};

/// 0, or CUDA's error number. `kind`: silu, gelu or gelu_tanh.
int gated_activation_forward(const GatedActivationForward& arguments, Activation kind, Element type, void* stream);
int gated_activation_backward(const GatedActivationBackward& arguments, Activation kind, Element type, void* stream);

}  // namespace peft::cuda
