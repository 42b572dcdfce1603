#include "src/kernels/cuda/grouped_matmul/kernels.cuh"

namespace peft::cuda {

template struct GroupedKernels<bf16, 16>;

}  // namespace peft::cuda
