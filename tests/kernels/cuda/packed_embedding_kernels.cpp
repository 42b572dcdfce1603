/// The functions of packed_embedding/api.h with the kernels as the emulator runs them.

#include "src/kernels/cuda/packed_embedding/backward.cuh"
#include "src/kernels/cuda/packed_embedding/forward.cuh"
#include "src/kernels/cuda/packed_embedding/packed_embedding.cu"
