#include "peft/kernels/norm.h"

#include <ATen/ATen.h>

#include <torch/csrc/autograd/custom_function.h>

#include "src/kernels/cpu_rows.h"
#include "src/kernels/custom/norm.h"
#include "src/kernels/custom/tensors.h"

namespace peft {
namespace {

/// What both kernels ask for.
bool is_frozen_norm(const at::Tensor& x_TC, const at::Tensor& branch_TC, const RowNorm& norm) {
  const auto trained = [](const at::Tensor& weight) { return weight.defined() && weight.requires_grad(); };
  return (!branch_TC.defined() || branch_TC.scalar_type() == x_TC.scalar_type()) && !trained(norm.weight_C) &&
         !trained(norm.bias_C);
}

bool custom_norm_serves(const at::Tensor& x_TC, const at::Tensor& branch_TC, const RowNorm& norm) {
  return custom::has_element(x_TC.scalar_type()) && x_TC.size(1) % 8 == 0 && x_TC.size(1) <= custom::kMaxColumns &&
         is_frozen_norm(x_TC, branch_TC, norm);
}

bool cpu_norm_serves(const at::Tensor& x_TC, const at::Tensor& branch_TC, const RowNorm& norm) {
  return on_cpu(x_TC) && x_TC.scalar_type() != at::kDouble && x_TC.size(1) % 16 == 0 &&
         is_frozen_norm(x_TC, branch_TC, norm);
}

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct NormArgs : torch::CustomClassHolder {
  NormArgs(const RowNorm& norm, const DropoutSite& site, const PackedBatch& rows)
      : rms(norm.kind == NormKind::rms_norm), eps(norm.eps), masks(site, rows) {}
  bool rms;
  double eps;
  CpuRowMasks masks;
};

/// Sum, dropout and norm in one pass over the rows; what is kept for the gradient is the sum and two numbers a row.
struct CpuResidualNorm : torch::autograd::Function<CpuResidualNorm> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& x_given,
                               const std::optional<at::Tensor>& branch_given, const at::Tensor& weight_C,
                               const std::optional<at::Tensor>& bias_C, const c10::intrusive_ptr<NormArgs>& args) {
    const at::Tensor x = x_given.contiguous(), branch = branch_given ? branch_given->contiguous() : at::Tensor(),
                     weight = weight_C.to(at::kFloat).contiguous(),
                     bias = bias_C ? bias_C->to(at::kFloat).contiguous() : at::Tensor();
    at::Tensor y = at::empty_like(x), sum = branch.defined() ? at::empty_like(x) : at::Tensor(),
               statistics = at::empty({2, x.size(0)}, weight.options());
    cpu::ResidualNorm n = arguments(*args, x, branch, sum, weight, statistics);
    n.bias = bias.defined() ? bias.const_data_ptr<float>() : nullptr;
    n.y = y.mutable_data_ptr();
    for_rows(x.size(0), x.size(1), [&](int64_t first, int64_t last) { cpu::kernels().rows.norm(n, first, last); });
    ctx->save_for_backward({branch.defined() ? sum : x, weight, statistics});
    ctx->saved_data["args"] = at::IValue::make_capsule(args);
    ctx->saved_data["branch"] = branch.defined();
    ctx->set_materialize_grads(false);  // behind the sum often stands nothing: no zeros to read then
    return branch.defined() ? variable_list{y, sum} : variable_list{y};
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &sum = saved[0], &weight = saved[1], &statistics = saved[2];
    const auto capsule = ctx->saved_data["args"].toCapsule();
    const NormArgs& args = *static_cast<const NormArgs*>(capsule.get());
    const bool has_branch = ctx->saved_data["branch"].toBool(), drops = has_branch && args.masks.active();
    const at::Tensor dy = grads[0].defined() ? grads[0].contiguous() : at::zeros_like(sum),
                     dsum = has_branch && grads[1].defined() ? grads[1].contiguous() : at::Tensor();
    at::Tensor dx = at::empty_like(sum), dbranch = drops ? at::empty_like(sum) : at::Tensor();
    const cpu::ResidualNorm n = arguments(args, sum, at::Tensor(), at::Tensor(), weight, statistics);
    const cpu::ResidualNormGradients g{.dy = dy.const_data_ptr(),
                                       .dsum = dsum.defined() ? dsum.const_data_ptr() : nullptr,
                                       .dx = dx.mutable_data_ptr(),
                                       .dbranch = drops ? dbranch.mutable_data_ptr() : nullptr};
    for_rows(sum.size(0), sum.size(1),
             [&](int64_t first, int64_t last) { cpu::kernels().rows.norm_backward(n, g, first, last); });
    return {dx, drops ? dbranch : has_branch ? dx : at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }

 private:
  static cpu::ResidualNorm arguments(const NormArgs& args, const at::Tensor& x, const at::Tensor& branch,
                                     const at::Tensor& sum, const at::Tensor& weight, const at::Tensor& statistics) {
    auto* mean = static_cast<float*>(statistics.data_ptr());
    return {.element = cpu_element(x.scalar_type()),
            .columns = x.size(1),
            .eps = args.eps,
            .rms = args.rms,
            .masks = args.masks.view(),
            .x = x.const_data_ptr(),
            .branch = branch.defined() ? branch.const_data_ptr() : nullptr,
            .weight = weight.const_data_ptr<float>(),
            .sum = sum.defined() ? sum.mutable_data_ptr() : nullptr,
            .mean = mean,
            .rstd = mean + x.size(0)};
  }
};

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
  if (cpu_norm_serves(x_TC, branch_TC, norm)) {
    const auto optional = [](const at::Tensor& x) { return x.defined() ? std::optional(x) : std::nullopt; };
    const auto found = CpuResidualNorm::apply(x_TC, optional(branch_TC), norm.weight_C, optional(norm.bias_C),
                                              c10::make_intrusive<NormArgs>(norm, site, *rows));
    return {found[0], branch_TC.defined() ? found[1] : x_TC};
  }
  const at::Tensor sum = branch_TC.defined() ? x_TC + dropout(branch_TC, site, rows) : x_TC;
  return {normalise(sum, norm), sum};
}

}  // namespace peft
