#pragma once
/// What a kernel's function returns: 0, CUDA's error number, or one of these.

namespace peft::cuda {

constexpr int kNoInstance = -1;        ///< no kernel for this width or type
constexpr int kBuiltWithoutCuda = -2;  ///< this program has none at all

}  // namespace peft::cuda
