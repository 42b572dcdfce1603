#include "src/kernels/cuda/packed_attention/backward_keys.cuh"
#include "src/kernels/cuda/packed_attention/backward_queries.cuh"
#include "src/kernels/cuda/packed_attention/forward.cuh"

namespace peft::cuda {

template int launch_packed_forward<bf16, 64>(const PackedForward&, void*);
template int launch_packed_queries<bf16, 64>(const PackedBackward&, void*);
template int launch_packed_keys<bf16, 64>(const PackedBackward&, void*);

}  // namespace peft::cuda
