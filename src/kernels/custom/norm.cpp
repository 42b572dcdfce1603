#include "src/kernels/custom/norm.h"

#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include "peft/base/error.h"
#include "src/kernels/cuda/residual_norm/api.h"
#include "src/kernels/custom/rows.h"
#include "src/kernels/custom/tensors.h"

namespace peft::custom {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// What a call's backward shares with its forward, apart from its rows.
struct NormCall : torch::CustomClassHolder {
  FrozenNorm norm;
  at::Tensor bias_C;
  NamedMasks masks;

  cuda::FrozenNorm norm_arguments() const {
    return {norm.kind, static_cast<float>(norm.eps), pointer(norm.weight_C), pointer(norm.bias_C)};
  }
};

struct ResidualNorm : torch::autograd::Function<ResidualNorm> {
  /// y and s; y alone without a branch.
  static variable_list forward(AutogradContext* ctx, const at::Tensor& x_given,
                               const std::optional<at::Tensor>& branch_given,
                               const c10::intrusive_ptr<NormCall>& call) {
    const at::Tensor x = packed(x_given), branch = branch_given ? packed(*branch_given) : at::Tensor();
    const at::Tensor y = at::empty_like(x), sum = branch.defined() ? at::empty_like(x) : x,
                     mean = float_tensor(x, {x.size(0)}), rstd = float_tensor(x, {x.size(0)});
    const cuda::ResidualNormForward arguments{
        .x = x.const_data_ptr(),
        .branch = pointer(branch),
        .bias = pointer(call->bias_C),
        .sum = branch.defined() ? sum.mutable_data_ptr() : nullptr,
        .y = y.mutable_data_ptr(),
        .mean = mutable_floats(mean),
        .rstd = mutable_floats(rstd),
        .rows = x.size(0),
        .columns = count(x.size(1)),
        .norm = call->norm_arguments(),
        .dropout = call->masks.arguments(),
    };
    check(cuda::residual_norm_forward(arguments, element_of(x.scalar_type()), stream_of(x)), "residual_norm_forward",
          x);
    ctx->save_for_backward({sum, mean, rstd});
    ctx->saved_data["call"] = at::IValue::make_capsule(call);
    ctx->set_materialize_grads(false);
    return branch.defined() ? variable_list{y, sum} : variable_list{y};
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &sum = saved[0], &mean = saved[1], &rstd = saved[2];
    const auto held = ctx->saved_data["call"].toCapsule();
    const auto& call = static_cast<const NormCall&>(*held);
    const bool branch = grads.size() > 1, masked = call.masks.active() && ctx->needs_input_grad(1);
    const at::Tensor dy = grads[0].defined() ? packed(grads[0]) : at::zeros_like(sum),
                     dresidual = branch ? packed(grads[1]) : at::Tensor();
    const at::Tensor dx = at::empty_like(sum), dbranch = masked ? at::empty_like(sum) : dx;
    const cuda::ResidualNormBackward arguments{
        .dy = dy.const_data_ptr(),
        .sum = sum.const_data_ptr(),
        .mean = floats(mean),
        .rstd = floats(rstd),
        .dresidual = pointer(dresidual),
        .dx = dx.mutable_data_ptr(),
        .dbranch = masked ? dbranch.mutable_data_ptr() : nullptr,
        .rows = sum.size(0),
        .columns = count(sum.size(1)),
        .norm = call.norm_arguments(),
        .dropout = call.masks.arguments(),
    };
    check(cuda::residual_norm_backward(arguments, element_of(sum.scalar_type()), stream_of(sum)),
          "residual_norm_backward", sum);
    return {dx, branch ? dbranch : at::Tensor(), at::Tensor()};
  }
};

}  // namespace

FrozenNorm frozen_norm(const RowNorm& norm) {
  const bool layer = norm.kind == NormKind::layer_norm;
  return {layer ? cuda::NormKind::layer_norm : cuda::NormKind::rms_norm, norm.eps, norm.weight_C, norm.bias_C};
}

NormedSum residual_norm(const at::Tensor& x_TC, const at::Tensor& branch_TC, const at::Tensor& bias_C,
                        const FrozenNorm& norm, const DropoutSite& dropout, const Batch& rows) {
  constexpr std::string_view kName = "residual_norm";
  check_rows(kName, x_TC);
  if (x_TC.size(1) > kMaxColumns) throw_error("{}: {} columns, at most {} fit", kName, x_TC.size(1), kMaxColumns);
  if (branch_TC.defined()) check_alike(kName, "branch", branch_TC, x_TC);
  if (!branch_TC.defined() && (bias_C.defined() || dropout.active()))
    throw_error("{}: bias and dropout are the branch's, and there is none", kName);
  const auto call = c10::make_intrusive<NormCall>();
  call->norm = norm;
  call->norm.weight_C = frozen(kName, "the norm's weight", norm.weight_C, x_TC);
  call->norm.bias_C = frozen(kName, "the norm's bias", norm.bias_C, x_TC);
  call->bias_C = frozen(kName, "bias", bias_C, x_TC);
  call->masks = named_masks(dropout, rows, x_TC);
  const variable_list results =
      ResidualNorm::apply(x_TC, branch_TC.defined() ? std::optional(branch_TC) : std::nullopt, call);
  return {results[0], branch_TC.defined() ? results[1] : x_TC};
}

}  // namespace peft::custom
