#define PEFT_ISA avx2
#define PEFT_ISA_NAME "AVX2"
#include "src/kernels/cpu/instruction_set.h"
