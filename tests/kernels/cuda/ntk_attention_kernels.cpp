/// The functions of ntk_attention/api.h with the kernels as the emulator runs them.

#include "src/kernels/cuda/ntk_attention/backward.cuh"
#include "src/kernels/cuda/ntk_attention/dispatch.cu"
#include "src/kernels/cuda/ntk_attention/forward.cuh"
