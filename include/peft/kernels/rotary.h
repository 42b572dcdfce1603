#pragma once
/// Rotary positions.     [Su et al. 2021, arXiv:2104.09864]

#include <ATen/core/Tensor.h>

namespace peft {

/// Columns j and j + R/2 of a head are one plane, which turns by the angle position / base^(2j/R). R of the D columns turn, the others stay.
struct Rotary {
  double base = 10000.0;
  int64_t columns = 0;  ///< R, even; 0: all D
};

/// x with every row turned to its position: queries and keys, but not values.     x_TGD, position_T int64 -> [T,G,D]
///
/// Angles, cosines and sines are float32 at least; the product is rounded once to the type of x. Differentiable in x.
at::Tensor rotate(const at::Tensor& x_TGD, const at::Tensor& position_T, const Rotary& rotary);

}  // namespace peft
