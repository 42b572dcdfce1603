#include "src/kernels/custom/rows.h"

#include <fmt/ranges.h>

#include "peft/base/error.h"

namespace peft::custom {
namespace {

std::string described(const at::Tensor& x) {
  return fmt::format("[{}] {} on {}", fmt::join(x.sizes(), ","), c10::toString(x.scalar_type()), x.device().str());
}

}  // namespace

void check_rows(std::string_view kernel, const at::Tensor& x_TC) {
  if (x_TC.dim() != 2 || x_TC.size(1) % 8 != 0 || !has_element(x_TC.scalar_type())) {
    throw_error("{}: no kernel for {}; it takes [rows, multiple of 8] float32, bfloat16 or half", kernel,
                described(x_TC));
  }
}

void check_alike(std::string_view kernel, std::string_view argument, const at::Tensor& x, const at::Tensor& like) {
  if (x.sizes() != like.sizes() || x.scalar_type() != like.scalar_type() || x.device() != like.device())
    throw_error("{}: {} is {}, expected {}", kernel, argument, described(x), described(like));
}

at::Tensor frozen(std::string_view kernel, std::string_view argument, const at::Tensor& weight_C,
                  const at::Tensor& x_TC) {
  if (!weight_C.defined()) return weight_C;
  if (weight_C.dim() != 1 || weight_C.size(0) != x_TC.size(1) || weight_C.scalar_type() != x_TC.scalar_type() ||
      weight_C.device() != x_TC.device())
    throw_error("{}: {} is {}, expected one number for each column of {}", kernel, argument, described(weight_C),
                described(x_TC));
  if (weight_C.requires_grad()) throw_error("{}: {} requires a gradient, but is frozen here", kernel, argument);
  return packed(weight_C);
}

}  // namespace peft::custom
