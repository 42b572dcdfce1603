#include "peft/kernels/norm.h"

#include <ATen/ATen.h>

#include "src/kernels/custom/norm.h"
#include "src/kernels/custom/tensors.h"

namespace peft {
namespace {

bool custom_norm_serves(const at::Tensor& x_TC, const at::Tensor& branch_TC, const RowNorm& norm) {
  const auto trained = [](const at::Tensor& weight) { return weight.defined() && weight.requires_grad(); };
  return custom::has_element(x_TC.scalar_type()) && x_TC.size(1) % 8 == 0 && x_TC.size(1) <= custom::kMaxColumns &&
         (!branch_TC.defined() || branch_TC.scalar_type() == x_TC.scalar_type()) && !trained(norm.weight_C) &&
         !trained(norm.bias_C);
}

}  // namespace

at::Tensor normalise(const at::Tensor& x, const RowNorm& norm) {
  if (norm.kind == NormKind::layer_norm) return at::layer_norm(x, {x.size(-1)}, norm.weight_C, norm.bias_C, norm.eps);
  const auto type = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;  // as Llama and T5 have them
  const at::Tensor wide = x.to(type);
  return (wide * at::rsqrt(wide.square().mean(-1, true) + norm.eps)).to(x.scalar_type()) * norm.weight_C;
}

NormedSum normalised_sum(const at::Tensor& x_TC, const at::Tensor& branch_TC, const RowNorm& norm,
                         const DropoutSite& site, const Batch& rows, const Execution& execution) {
  if (execution.custom_kernels && custom_norm_serves(x_TC, branch_TC, norm)) {
    return custom::residual_norm(x_TC, branch_TC, {}, custom::frozen_norm(norm), site, rows);
  }
  const at::Tensor sum = branch_TC.defined() ? x_TC + dropout(branch_TC, site, rows) : x_TC;
  return {normalise(sum, norm), sum};
}

}  // namespace peft
