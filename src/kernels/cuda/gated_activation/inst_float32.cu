#include "src/kernels/cuda/gated_activation/kernels.cuh"

namespace peft::cuda {

template int gated_activation_forward_tiles<float, Activation::silu>(const GatedActivationForward&, void*);
template int gated_activation_backward_tiles<float, Activation::silu>(const GatedActivationBackward&, void*);
template int gated_activation_forward_tiles<float, Activation::gelu>(const GatedActivationForward&, void*);
template int gated_activation_backward_tiles<float, Activation::gelu>(const GatedActivationBackward&, void*);
template int gated_activation_forward_tiles<float, Activation::gelu_tanh>(const GatedActivationForward&, void*);
template int gated_activation_backward_tiles<float, Activation::gelu_tanh>(const GatedActivationBackward&, void*);

}  // namespace peft::cuda
