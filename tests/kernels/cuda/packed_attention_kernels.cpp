/// The functions of packed_attention/api.h with the kernels as the emulator runs them.

#include "src/kernels/cuda/packed_attention/backward_keys.cuh"
#include "src/kernels/cuda/packed_attention/backward_queries.cuh"
#include "src/kernels/cuda/packed_attention/dispatch.cu"
#include "src/kernels/cuda/packed_attention/forward.cuh"
#include "src/kernels/cuda/prefix_attention/backward_keys.cuh"  // for the prefixes
