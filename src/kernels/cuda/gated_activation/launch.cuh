#pragma once
/// Which instance serves which activation. The instances are compiled in inst_*.cu.

#include "src/kernels/cuda/common/rows.cuh"
#include "src/kernels/cuda/gated_activation/api.h"

namespace peft::cuda {

template <class T, Activation Kind>
int gated_activation_forward_tiles(const GatedActivationForward& arguments, void* stream);
template <class T, Activation Kind>
int gated_activation_backward_tiles(const GatedActivationBackward& arguments, void* stream);

inline int launch_gated_activation_forward(const GatedActivationForward& a, Activation kind, Element type,
                                           void* stream) {
  if (a.rows == 0) return 0;
  if (a.columns % kChunk != 0 || a.stride % kChunk != 0) return kInvalidValue;
  return with_element(type, [&](auto element) {
    using T = typename decltype(element)::type;
    if (kind == Activation::silu) return gated_activation_forward_tiles<T, Activation::silu>(a, stream);
    if (kind == Activation::gelu) return gated_activation_forward_tiles<T, Activation::gelu>(a, stream);
    if (kind == Activation::gelu_tanh) return gated_activation_forward_tiles<T, Activation::gelu_tanh>(a, stream);
    return kInvalidValue;
  });
}

inline int launch_gated_activation_backward(const GatedActivationBackward& a, Activation kind, Element type,
                                            void* stream) {
  if (a.rows == 0) return 0;
  if (a.columns % kChunk != 0 || a.stride % kChunk != 0) return kInvalidValue;
  return with_element(type, [&](auto element) {
    using T = typename decltype(element)::type;
    if (kind == Activation::silu) return gated_activation_backward_tiles<T, Activation::silu>(a, stream);
    if (kind == Activation::gelu) return gated_activation_backward_tiles<T, Activation::gelu>(a, stream);
    if (kind == Activation::gelu_tanh) return gated_activation_backward_tiles<T, Activation::gelu_tanh>(a, stream);
    return kInvalidValue;
  });
}

}  // namespace peft::cuda
