/// The functions of prefix_attention/api.h with the kernels as the emulator runs them.

#include "src/kernels/cuda/prefix_attention/backward_keys.cuh"
#include "src/kernels/cuda/prefix_attention/backward_queries.cuh"
#include "src/kernels/cuda/prefix_attention/dispatch.cu"
#include "src/kernels/cuda/prefix_attention/forward.cuh"
