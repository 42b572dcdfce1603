#include "src/kernels/cuda/prefix_attention/backward_keys.cuh"
#include "src/kernels/cuda/prefix_attention/backward_queries.cuh"
#include "src/kernels/cuda/prefix_attention/forward.cuh"

namespace peft::cuda {

template int launch_prefix_forward<half, 96>(const PrefixForward&, void*);
template int launch_prefix_queries<half, 96>(const PrefixBackward&, void*);
template int launch_prefix_keys<half, 96>(const PrefixBackward&, const NamedDropout&, void*);

}  // namespace peft::cuda
