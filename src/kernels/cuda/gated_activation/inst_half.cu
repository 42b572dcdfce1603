#include "src/kernels/cuda/gated_activation/kernels.cuh"

namespace peft::cuda {

template int gated_activation_forward_tiles<half, Activation::silu>(const GatedActivationForward&, void*);
template int gated_activation_backward_tiles<half, Activation::silu>(const GatedActivationBackward&, void*);
template int gated_activation_forward_tiles<half, Activation::gelu>(const GatedActivationForward&, void*);
template int gated_activation_backward_tiles<half, Activation::gelu>(const GatedActivationBackward&, void*);
template int gated_activation_forward_tiles<half, Activation::gelu_tanh>(const GatedActivationForward&, void*);
template int gated_activation_backward_tiles<half, Activation::gelu_tanh>(const GatedActivationBackward&, void*);

}  // namespace peft::cuda
