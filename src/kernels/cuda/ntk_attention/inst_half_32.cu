#include "src/kernels/cuda/ntk_attention/backward.cuh"
#include "src/kernels/cuda/ntk_attention/forward.cuh"

namespace peft::cuda {

template int launch_ntk_forward<half, 32>(const NtkForward&, void*);
template int launch_ntk_backward<half, 32>(const NtkBackward&, void*);

}  // namespace peft::cuda
