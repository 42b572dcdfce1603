#include "src/kernels/cuda/bias_activation/launch.cuh"

namespace peft::cuda {

int bias_activation_forward(const BiasActivationForward& arguments, Activation kind, Element type, void* stream) {
  return launch_bias_activation_forward(arguments, kind, type, stream);
}
int bias_activation_backward(const BiasActivationBackward& arguments, Activation kind, Element type, void* stream) {
  return launch_bias_activation_backward(arguments, kind, type, stream);
}

}  // namespace peft::cuda
