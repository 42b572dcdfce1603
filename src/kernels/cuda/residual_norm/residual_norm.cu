#include "src/kernels/cuda/residual_norm/launch.cuh"

namespace peft::cuda {

int residual_norm_forward(const ResidualNormForward& arguments, Element type, void* stream) {
  return launch_residual_norm_forward(arguments, type, stream);
}
int residual_norm_backward(const ResidualNormBackward& arguments, Element type, void* stream) {
  return launch_residual_norm_backward(arguments, type, stream);
}

}  // namespace peft::cuda
