#include "src/kernels/cuda/grouped_matmul/kernels.cuh"

namespace peft::cuda {

template struct GroupedKernels<bf16, 128>;

}  // namespace peft::cuda
