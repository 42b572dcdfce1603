/// The functions of small_xent/api.h with the kernels as the emulator runs them.

#include "src/kernels/cuda/small_xent/small_xent.cu"
