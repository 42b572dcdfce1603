#include "src/kernels/cuda/grouped_matmul/kernels.cuh"

namespace peft::cuda {

template struct GroupedKernels<float, 128>;

}  // namespace peft::cuda
