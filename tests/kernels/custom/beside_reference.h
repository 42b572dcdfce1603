#pragma once
/// attention() by one implementation, beside the reference in float64, and how near it has to be.

#include <gmock/gmock.h>

#include <array>

#include "tests/kernels/attention_case.h"
#include "tests/kernels/custom/device.h"

namespace peft {

using Wish = AttentionImplementation;

inline std::vector<at::Tensor> outcome_of(AttentionInputs in, Wish wish) {
  in.args.implementation = wish;
  return outcome(attention, in);
}

/// docs/kernels.md#tolerances, relative L2: of out, dq, dk and dv; of dPk and dPv, rounded to the prefix's type, or dZ; and of den. Terms
/// of either sign cancel in the gradient of den of few rows, which ntk_attention_test measures against the root of their squares: here at
/// 2.5 times 5e-3.
inline double cap_of(std::size_t result, bool state, at::ScalarType type) {
  if (type == at::kFloat) return 2e-5;
  const std::array<double, 6> caps{3.5e-3, 4e-3, 5e-3, 5e-3, state ? 2.5e-3 : 5.5e-3, state ? 1.25e-2 : 5.5e-3};
  return caps[result];
}

/// Every result within `factor` times its cap.
inline void expect_equals_reference(const AttentionInputs& in, Wish wish, const std::string& name,
                                    double factor = 1.0) {
  const at::ScalarType type = in.leaves[0].scalar_type();
  const auto found = outcome_of(in, wish), expected = outcome_of(in.widened(), Wish::reference);
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_LE(relative_error(found[i], expected[i]), factor * cap_of(i, in.args.state.defined(), type))
        << name_of(wish) << ", " << c10::toString(type) << ", " << name << ", result " << i;
  }
}
inline void expect_equals_reference(const AttentionCase& c, at::ScalarType type, Wish wish, double factor = 1.0) {
  expect_equals_reference(make_inputs(c, type, kernel_device()), wish, c.name(), factor);
}

}  // namespace peft
