#include "src/kernels/cuda/residual_norm/backward.cuh"
#include "src/kernels/cuda/residual_norm/forward.cuh"

namespace peft::cuda {

template int residual_norm_forward_rows<half, kWarp>(const ResidualNormForward&, void*);
template int residual_norm_backward_rows<half, kWarp>(const ResidualNormBackward&, void*);

}  // namespace peft::cuda
