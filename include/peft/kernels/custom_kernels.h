#pragma once
/// Our own CUDA kernels, where a caller asks for them (Execution::custom_kernels, BankAdamW, AttentionImplementation::packed).

#include <c10/core/Device.h>

namespace peft {

/// Whether they run on tensors of this device: a GPU, and the CPU in programs that link the emulator (tests/kernels/cuda).
bool custom_kernels_serve(at::Device device);

}  // namespace peft
