/// The functions of bank_adamw/api.h with the kernels as the emulator runs them.

#include "src/kernels/cuda/bank_adamw/bank_adamw.cu"
