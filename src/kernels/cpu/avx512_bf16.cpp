#define PEFT_ISA avx512_bf16
#define PEFT_ISA_NAME "AVX-512 with bfloat16"
#include "src/kernels/cpu/instruction_set.h"
