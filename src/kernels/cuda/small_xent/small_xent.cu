#include "src/kernels/cuda/small_xent/kernels.cuh"

namespace peft::cuda {

int small_xent(const SmallXent& arguments, Element type, void* stream) {
  return launch_small_xent(arguments, type, stream);
}

}  // namespace peft::cuda
