#define PEFT_ISA avx512
#define PEFT_ISA_NAME "AVX-512"
#include "src/kernels/cpu/instruction_set.h"
