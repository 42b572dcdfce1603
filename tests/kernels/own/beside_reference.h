#pragma once
/// attention() on the GPU by one implementation, beside the reference in float64.

#include <gmock/gmock.h>

#include "tests/kernels/attention_case.h"
#include "tests/kernels/own/device.h"

namespace peft {

using Wish = AttentionImplementation;

inline std::vector<at::Tensor> outcome_of(AttentionInputs in, Wish wish) {
  in.args.implementation = wish;
  return outcome(attention, in);
}

/// Every result within `tolerance`, relative L2.
inline void expect_equals_reference(const AttentionInputs& in, Wish wish, double tolerance, const std::string& name) {
  const auto found = outcome_of(in, wish), expected = outcome_of(in.widened(), Wish::reference);
  for (std::size_t i = 0; i < found.size(); ++i) {
    const bool den = in.args.state.defined() && i + 1 == found.size();  // its terms have either sign
    EXPECT_LE(relative_error(found[i], expected[i]), (den ? 2.5 : 1.0) * tolerance)
        << name_of(wish) << ", " << c10::toString(in.leaves[0].scalar_type()) << ", " << name << ", result " << i;
  }
}
inline void expect_equals_reference(const AttentionCase& c, at::ScalarType type, Wish wish, double tolerance) {
  expect_equals_reference(make_inputs(c, type, kernel_device()), wish, tolerance, c.name());
}

}  // namespace peft
