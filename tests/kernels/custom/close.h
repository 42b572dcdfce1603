#pragma once
/// Random inputs of the bindings' tests on the kernels' device, and how results are judged (docs/kernels.md#tolerances).

#include <torch/csrc/autograd/autograd.h>

#include "tests/kernels/custom/device.h"
#include "tests/support/tensors.h"

namespace peft {

inline constexpr at::ScalarType kElements[] = {at::kFloat, at::kBFloat16, at::kHalf};

/// Normal numbers as `type` holds them.
inline at::Tensor rounded(uint64_t seed, at::IntArrayRef shape, at::ScalarType type, double scale = 1.0,
                          double mean = 0.0) {
  return (random_tensor(seed, shape, scale) + mean).to(kernel_device(), type);
}
inline at::Tensor wide(const at::Tensor& x) { return x.detach().to(at::kDouble); }
inline at::Tensor leaf(const at::Tensor& x) { return x.detach().requires_grad_(true); }

/// The same numbers, one element behind a 16-byte boundary and in rows of an odd length.
inline at::Tensor unaligned(const at::Tensor& x) {
  const at::Tensor wider = at::zeros({x.size(0), x.size(1) + 3}, x.options().requires_grad(false));
  wider.narrow(1, 1, x.size(1)).copy_(x.detach());
  return wider.narrow(1, 1, x.size(1));
}

/// 16-bit outputs: every element within 1 to 2 units of the last place, beyond the 5e-7 that float32 terms leave where they cancel.
/// float32: relative L2.
inline void expect_output(const at::Tensor& found, const at::Tensor& expected) {
  ASSERT_EQ(found.sizes(), expected.sizes());
  if (found.scalar_type() == at::kFloat) {
    EXPECT_LE(relative_error(found, expected), 1e-6);
    return;
  }
  const double unit = found.scalar_type() == at::kHalf ? 0x1p-10 : 0x1p-7;
  const at::Tensor allowed = unit * expected.abs() + 5e-7;
  EXPECT_TRUE(((wide(found) - expected).abs() <= allowed).all().item<bool>())
      << "relative L2 " << relative_error(found, expected);
}

inline void expect_gradient(const at::Tensor& found, const at::Tensor& expected) {
  const at::ScalarType type = found.scalar_type();
  EXPECT_LE(relative_error(found, expected), type == at::kFloat ? 2e-6 : (type == at::kHalf ? 4e-4 : 3e-3));
}

}  // namespace peft
