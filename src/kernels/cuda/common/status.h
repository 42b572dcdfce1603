#pragma once
/// What a kernel's function returns: 0, CUDA's error number, or one of these; and what stands behind the functions.

namespace peft::cuda {

constexpr int kNoInstance = -1;        ///< no kernel for this width or type
constexpr int kBuiltWithoutCuda = -2;  ///< this program has none at all

/// Whether the kernels of this program are the emulator's, which take pointers to the CPU's memory.
bool kernels_are_emulated();

}  // namespace peft::cuda
