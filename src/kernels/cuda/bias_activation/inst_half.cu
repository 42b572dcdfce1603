#include "src/kernels/cuda/bias_activation/kernels.cuh"

namespace peft::cuda {

template int bias_activation_forward_tiles<half, Activation::gelu>(const BiasActivationForward&, void*);
template int bias_activation_backward_tiles<half, Activation::gelu>(const BiasActivationBackward&, void*);
template int bias_activation_forward_tiles<half, Activation::gelu_tanh>(const BiasActivationForward&, void*);
template int bias_activation_backward_tiles<half, Activation::gelu_tanh>(const BiasActivationBackward&, void*);
template int bias_activation_forward_tiles<half, Activation::relu>(const BiasActivationForward&, void*);
template int bias_activation_backward_tiles<half, Activation::relu>(const BiasActivationBackward&, void*);
template int bias_activation_forward_tiles<half, Activation::silu>(const BiasActivationForward&, void*);
template int bias_activation_backward_tiles<half, Activation::silu>(const BiasActivationBackward&, void*);

}  // namespace peft::cuda
