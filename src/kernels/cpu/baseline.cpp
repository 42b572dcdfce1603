#define PEFT_ISA baseline
#define PEFT_ISA_NAME "portable"
#include "src/kernels/cpu/instruction_set.h"
