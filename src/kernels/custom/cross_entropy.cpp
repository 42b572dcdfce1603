#include "src/kernels/custom/cross_entropy.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include "peft/base/error.h"
#include "src/kernels/cuda/small_xent/api.h"
#include "src/kernels/custom/tensors.h"

namespace peft::custom {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Selection : torch::CustomClassHolder {
  at::Tensor rows, columns, labels;  ///< int32; rows and columns may be undefined
  at::Tensor weights;                ///< float32 or undefined
  int64_t row_count = 0, classes = 0;
  bool gradient = false;  ///< wanted
};

const int32_t* integers(const at::Tensor& x) { return x.defined() ? x.const_data_ptr<int32_t>() : nullptr; }

struct SmallXent : torch::autograd::Function<SmallXent> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& logits_given,
                            const c10::intrusive_ptr<Selection>& selection) {
    const Selection& s = *selection;
    const at::Tensor logits = logits_given.stride(1) == 1 ? logits_given : logits_given.contiguous();
    at::Tensor loss = float_tensor(logits, {s.row_count});
    const at::Tensor gradient = s.gradient ? at::empty({s.row_count, s.classes}, logits.options()) : at::Tensor();
    const cuda::SmallXent arguments{
        .logits = logits.const_data_ptr(),
        .logits_stride = logits.stride(0),
        .row = integers(s.rows),
        .column = integers(s.columns),
        .label = integers(s.labels),
        .weight = s.weights.defined() ? floats(s.weights) : nullptr,
        .loss = mutable_floats(loss),
        .dlogits = s.gradient ? gradient.mutable_data_ptr() : nullptr,
        .dlogits_stride = s.classes,
        .rows = count(s.row_count),
        .classes = count(s.classes),
    };
    check(cuda::small_xent(arguments, element_of(logits.scalar_type()), stream_of(logits)), "small_xent", logits);
    ctx->save_for_backward({gradient});
    ctx->saved_data["selection"] = at::IValue::make_capsule(selection);
    ctx->saved_data["sizes"] = logits.sizes();
    return loss;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const at::Tensor gradient = ctx->get_saved_variables()[0];
    const auto held = ctx->saved_data["selection"].toCapsule();
    const auto& s = static_cast<const Selection&>(*held);
    const at::Tensor scaled = gradient.mul(grads[0].unsqueeze(1)).to(gradient.scalar_type());  // product in float32
    if (!s.rows.defined() && !s.columns.defined()) return {scaled, at::Tensor()};
    const auto chosen = [&](const at::Tensor& x, int64_t all) {
      const auto options = gradient.options().dtype(at::kLong);
      return x.defined() ? x.to(at::kLong) : at::arange(all, options);
    };
    const at::Tensor dlogits = at::zeros(ctx->saved_data["sizes"].toIntVector(), gradient.options());
    // Adding, since a row may be selected twice; by sorted places on a GPU, so that results repeat.
    dlogits.index_put_({chosen(s.rows, s.row_count).unsqueeze(1), chosen(s.columns, s.classes)}, scaled,
                       /*accumulate=*/true);
    return {dlogits, at::Tensor()};
  }
};

/// Integers of the kernel's own width, or undefined.
at::Tensor held_integers(std::string_view argument, const at::Tensor& x, const at::Tensor& logits) {
  if (!x.defined()) return x;
  if (x.dim() != 1 || !at::isIntegralType(x.scalar_type(), /*includeBool=*/false) || x.device() != logits.device())
    throw_error("small_xent: {} must be a vector of integers on the logits' device", argument);
  return x.to(at::kInt).contiguous();
}

}  // namespace

at::Tensor small_xent(const at::Tensor& logits_TV, const at::Tensor& rows_R, const at::Tensor& columns_N,
                      const at::Tensor& labels_R, const at::Tensor& weights_R) {
  if (logits_TV.dim() != 2)
    throw_error("small_xent: logits of {} dimensions, expected [rows, classes]", logits_TV.dim());
  const auto selection = c10::make_intrusive<Selection>();
  Selection& s = *selection;
  s.rows = held_integers("rows", rows_R, logits_TV);
  s.columns = held_integers("columns", columns_N, logits_TV);
  s.labels = held_integers("labels", labels_R, logits_TV);
  s.row_count = s.rows.defined() ? s.rows.size(0) : logits_TV.size(0);
  s.classes = s.columns.defined() ? s.columns.size(0) : logits_TV.size(1);
  if (s.classes < 1 || s.classes > cuda::kMaxClasses)
    throw_error("small_xent: {} classes, expected 1 to {}", s.classes, cuda::kMaxClasses);
  if (!s.labels.defined() || s.labels.size(0) != s.row_count)
    throw_error("small_xent: {} labels for {} rows", s.labels.defined() ? s.labels.size(0) : 0, s.row_count);
  if (weights_R.defined()) {
    if (weights_R.dim() != 1 || weights_R.size(0) != s.row_count || weights_R.device() != logits_TV.device())
      throw_error("small_xent: weights must be one number for each of {} rows, on the logits' device", s.row_count);
    s.weights = weights_R.detach().to(at::kFloat).contiguous();
  }
  s.gradient = at::GradMode::is_enabled() && logits_TV.requires_grad();
  return SmallXent::apply(logits_TV, selection);
}

}  // namespace peft::custom
