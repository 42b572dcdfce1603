#include "src/kernels/cuda/bias_activation/kernels.cuh"

namespace peft::cuda {

template int bias_activation_forward_tiles<float, Activation::gelu>(const BiasActivationForward&, void*);
template int bias_activation_backward_tiles<float, Activation::gelu>(const BiasActivationBackward&, void*);
template int bias_activation_forward_tiles<float, Activation::gelu_tanh>(const BiasActivationForward&, void*);
template int bias_activation_backward_tiles<float, Activation::gelu_tanh>(const BiasActivationBackward&, void*);
template int bias_activation_forward_tiles<float, Activation::relu>(const BiasActivationForward&, void*);
template int bias_activation_backward_tiles<float, Activation::relu>(const BiasActivationBackward&, void*);
template int bias_activation_forward_tiles<float, Activation::silu>(const BiasActivationForward&, void*);
template int bias_activation_backward_tiles<float, Activation::silu>(const BiasActivationBackward&, void*);

}  // namespace peft::cuda
