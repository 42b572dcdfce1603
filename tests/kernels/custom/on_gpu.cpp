/// main() of programs that need a GPU: without one they say so and exit with 77, which ctest takes for "skipped".

#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <gtest/gtest.h>

#include <iostream>

#include "tests/kernels/custom/device.h"

namespace peft {

at::Device kernel_device() { return {at::kCUDA, 0}; }

}  // namespace peft

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  constexpr int kSkipped = 77;
  if (!at::hasCUDA() || at::detail::getCUDAHooks().deviceCount() == 0) {
    std::cout << "skipped: no NVIDIA GPU on this machine\n";
    return kSkipped;
  }
  return RUN_ALL_TESTS();
}
