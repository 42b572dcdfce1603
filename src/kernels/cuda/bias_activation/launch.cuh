#pragma once
/// Which instance serves which activation. The instances are compiled in inst_*.cu.

#include "src/kernels/cuda/bias_activation/api.h"
#include "src/kernels/cuda/common/rows.cuh"

namespace peft::cuda {

template <class T, Activation Kind>
int bias_activation_forward_tiles(const BiasActivationForward& arguments, void* stream);
template <class T, Activation Kind>
int bias_activation_backward_tiles(const BiasActivationBackward& arguments, void* stream);

inline int launch_bias_activation_forward(const BiasActivationForward& a, Activation kind, Element type, void* stream) {
  if (a.rows == 0) return 0;
  if (a.columns % kChunk != 0) return kInvalidValue;
  return with_element(type, [&](auto element) {
    using T = typename decltype(element)::type;
    if (kind == Activation::gelu) return bias_activation_forward_tiles<T, Activation::gelu>(a, stream);
    if (kind == Activation::gelu_tanh) return bias_activation_forward_tiles<T, Activation::gelu_tanh>(a, stream);
    if (kind == Activation::relu) return bias_activation_forward_tiles<T, Activation::relu>(a, stream);
    return bias_activation_forward_tiles<T, Activation::silu>(a, stream);
  });
}

inline int launch_bias_activation_backward(const BiasActivationBackward& a, Activation kind, Element type,
                                           void* stream) {
  if (a.rows == 0) return 0;
  if (a.columns % kChunk != 0) return kInvalidValue;
  return with_element(type, [&](auto element) {
    using T = typename decltype(element)::type;
    if (kind == Activation::gelu) return bias_activation_backward_tiles<T, Activation::gelu>(a, stream);
    if (kind == Activation::gelu_tanh) return bias_activation_backward_tiles<T, Activation::gelu_tanh>(a, stream);
    if (kind == Activation::relu) return bias_activation_backward_tiles<T, Activation::relu>(a, stream);
    return bias_activation_backward_tiles<T, Activation::silu>(a, stream);
  });
}

}  // namespace peft::cuda
