/// The functions of bias_activation/api.h with the kernels as the emulator runs them.

#include "src/kernels/cuda/bias_activation/bias_activation.cu"
#include "src/kernels/cuda/bias_activation/kernels.cuh"
