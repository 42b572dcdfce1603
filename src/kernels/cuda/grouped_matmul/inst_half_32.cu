#include "src/kernels/cuda/grouped_matmul/kernels.cuh"

namespace peft::cuda {

template struct GroupedKernels<half, 32>;

}  // namespace peft::cuda
