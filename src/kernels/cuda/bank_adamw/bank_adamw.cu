#include "src/kernels/cuda/bank_adamw/kernels.cuh"

namespace peft::cuda {

int bank_adamw(const BankAdamW& bank, void* stream) { return launch_bank_adamw(bank, stream); }

}  // namespace peft::cuda
