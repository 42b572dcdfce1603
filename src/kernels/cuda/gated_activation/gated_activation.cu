#include "src/kernels/cuda/gated_activation/launch.cuh"

namespace peft::cuda {

int gated_activation_forward(const GatedActivationForward& arguments, Activation kind, Element type, void* stream) {
  return launch_gated_activation_forward(arguments, kind, type, stream);
}
int gated_activation_backward(const GatedActivationBackward& arguments, Activation kind, Element type, void* stream) {
  return launch_gated_activation_backward(arguments, kind, type, stream);
}

}  // namespace peft::cuda
