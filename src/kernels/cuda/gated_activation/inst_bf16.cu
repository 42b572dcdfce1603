#include "src/kernels/cuda/gated_activation/kernels.cuh"

namespace peft::cuda {

template int gated_activation_forward_tiles<bf16, Activation::silu>(const GatedActivationForward&, void*);
template int gated_activation_backward_tiles<bf16, Activation::silu>(const GatedActivationBackward&, void*);
template int gated_activation_forward_tiles<bf16, Activation::gelu>(const GatedActivationForward&, void*);
template int gated_activation_backward_tiles<bf16, Activation::gelu>(const GatedActivationBackward&, void*);
template int gated_activation_forward_tiles<bf16, Activation::gelu_tanh>(const GatedActivationForward&, void*);
template int gated_activation_backward_tiles<bf16, Activation::gelu_tanh>(const GatedActivationBackward&, void*);

}  // namespace peft::cuda
