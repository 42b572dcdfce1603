/// The functions of residual_norm/api.h with the kernels as the emulator runs them.

#include "src/kernels/cuda/residual_norm/backward.cuh"
#include "src/kernels/cuda/residual_norm/forward.cuh"
#include "src/kernels/cuda/residual_norm/residual_norm.cu"
