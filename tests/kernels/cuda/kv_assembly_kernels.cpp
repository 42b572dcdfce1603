/// The functions of kv_assembly/api.h with the kernels as the emulator runs them.

#include "src/kernels/cuda/kv_assembly/kv_assembly.cu"
