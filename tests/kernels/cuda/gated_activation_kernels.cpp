/// The functions of gated_activation/api.h with the kernels as the emulator runs them.

#include "src/kernels/cuda/gated_activation/gated_activation.cu"
#include "src/kernels/cuda/gated_activation/kernels.cuh"
