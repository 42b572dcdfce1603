/// The functions of grouped_matmul/api.h with the kernels as the emulator runs them.

#include "src/kernels/cuda/grouped_matmul/grouped_matmul.cu"
#include "src/kernels/cuda/grouped_matmul/kernels.cuh"
