#pragma once
/// What kernels on rows of elements ask of tensors. Private to src/kernels.

#include <string_view>

#include "src/kernels/custom/tensors.h"

namespace peft::custom {

/// Throws Error unless x is [T,C] of a type with kernels, C a multiple of 8.
void check_rows(std::string_view kernel, const at::Tensor& x_TC);
/// Throws Error unless x has the shape, type and device of `like`.
void check_alike(std::string_view kernel, std::string_view argument, const at::Tensor& x, const at::Tensor& like);

/// A weight per column, packed; undefined stays undefined. Throws Error for another shape, type or device than x_TC's, and for a weight that
/// requires a gradient: it would get none.
at::Tensor frozen(std::string_view kernel, std::string_view argument, const at::Tensor& weight_C,
                  const at::Tensor& x_TC);

}  // namespace peft::custom
