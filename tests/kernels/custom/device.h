#pragma once
/// Tests of the bindings of our own CUDA kernels make two programs of the same sources: `custom_kernels_test`, where the kernels run on the
/// CPU's tensors as the emulator runs them, and `gpu_kernels_test` (PEFT_CUDA, ctest label gpu), where they run on a GPU.

#include <ATen/core/Tensor.h>

namespace peft {

/// Where the kernels of this program run.
at::Device kernel_device();

}  // namespace peft
