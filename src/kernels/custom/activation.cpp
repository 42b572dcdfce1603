#include "src/kernels/custom/activation.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include "peft/base/error.h"
#include "src/kernels/cuda/bias_activation/api.h"
#include "src/kernels/cuda/gated_activation/api.h"
#include "src/kernels/custom/rows.h"
#include "src/kernels/custom/tensors.h"

namespace peft::custom {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// What a call's backward shares with its forward, apart from its rows.
struct ActivationCall : torch::CustomClassHolder {
  cuda::Activation act{};
  NamedMasks masks;
  at::Tensor bias_F;
};

c10::intrusive_ptr<ActivationCall> make_call(cuda::Activation act, NamedMasks masks, at::Tensor bias_F = {}) {
  auto call = c10::make_intrusive<ActivationCall>();
  call->act = act;
  call->masks = std::move(masks);
  call->bias_F = std::move(bias_F);
  return call;
}

struct BiasActivation : torch::autograd::Function<BiasActivation> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x_given,
                            const c10::intrusive_ptr<ActivationCall>& call) {
    const at::Tensor x = packed(x_given);
    at::Tensor y = at::empty_like(x);
    const cuda::BiasActivationForward arguments{
        .x = x.const_data_ptr(),
        .bias = pointer(call->bias_F),
        .y = y.mutable_data_ptr(),
        .rows = x.size(0),
        .columns = count(x.size(1)),
        .dropout = call->masks.arguments(),
    };
    check(cuda::bias_activation_forward(arguments, call->act, element_of(x.scalar_type()), stream_of(x)),
          "bias_activation_forward", x);
    ctx->save_for_backward({x});
    ctx->saved_data["call"] = at::IValue::make_capsule(call);
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const at::Tensor x = ctx->get_saved_variables()[0], dy = packed(grads[0]), dx = at::empty_like(x);
    const auto held = ctx->saved_data["call"].toCapsule();
    const auto& call = static_cast<const ActivationCall&>(*held);
    const cuda::BiasActivationBackward arguments{
        .dy = dy.const_data_ptr(),
        .x = x.const_data_ptr(),
        .bias = pointer(call.bias_F),
        .dx = dx.mutable_data_ptr(),
        .rows = x.size(0),
        .columns = count(x.size(1)),
        .dropout = call.masks.arguments(),
    };
    check(cuda::bias_activation_backward(arguments, call.act, element_of(x.scalar_type()), stream_of(x)),
          "bias_activation_backward", x);
    return {dx, at::Tensor()};
  }
};

/// Rows that lie equally far apart and that 16-byte accesses can serve.
bool served_in_place(const at::Tensor& gate, const at::Tensor& up) {
  const auto fits = [](const at::Tensor& x) {
    return x.stride(1) == 1 && x.stride(0) % 8 == 0 && reinterpret_cast<uintptr_t>(x.const_data_ptr()) % 16 == 0;
  };
  return gate.stride(0) == up.stride(0) && fits(gate) && fits(up);
}

struct GatedActivation : torch::autograd::Function<GatedActivation> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& gate_given, const at::Tensor& up_given,
                            const c10::intrusive_ptr<ActivationCall>& call) {
    const bool in_place = served_in_place(gate_given, up_given);
    const at::Tensor gate = in_place ? gate_given : packed(gate_given), up = in_place ? up_given : packed(up_given);
    at::Tensor out = at::empty(gate.sizes(), gate.options());
    const cuda::GatedActivationForward arguments{
        .gate = gate.const_data_ptr(),
        .up = up.const_data_ptr(),
        .stride = in_place ? gate.stride(0) : gate.size(1),
        .out = out.mutable_data_ptr(),
        .rows = gate.size(0),
        .columns = count(gate.size(1)),
        .dropout = call->masks.arguments(),
    };
    check(cuda::gated_activation_forward(arguments, call->act, element_of(gate.scalar_type()), stream_of(gate)),
          "gated_activation_forward", gate);
    ctx->save_for_backward({gate, up});
    ctx->saved_data["call"] = at::IValue::make_capsule(call);
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const int64_t columns = saved[0].size(1);
    // The kernel writes gradients over the values. These are the caller's tensors, and a retained graph reads them
    // again: it gets copies.
    const at::Tensor both = at::cat({saved[0], saved[1]}, 1), gate = both.narrow(1, 0, columns),
                     up = both.narrow(1, columns, columns), dout = packed(grads[0]);
    const auto held = ctx->saved_data["call"].toCapsule();
    const auto& call = static_cast<const ActivationCall&>(*held);
    const cuda::GatedActivationBackward arguments{
        .dout = dout.const_data_ptr(),
        .gate = gate.mutable_data_ptr(),
        .up = up.mutable_data_ptr(),
        .stride = 2 * columns,
        .rows = gate.size(0),
        .columns = count(columns),
        .dropout = call.masks.arguments(),
    };
    check(cuda::gated_activation_backward(arguments, call.act, element_of(gate.scalar_type()), stream_of(gate)),
          "gated_activation_backward", gate);
    return {gate, up, at::Tensor()};
  }
};

}  // namespace

at::Tensor bias_activation(const at::Tensor& x_TF, const at::Tensor& bias_F, cuda::Activation act,
                           const DropoutSite& dropout, const Batch& rows) {
  check_rows("bias_activation", x_TF);
  const at::Tensor bias = frozen("bias_activation", "bias", bias_F, x_TF);
  return BiasActivation::apply(x_TF, make_call(act, named_masks(dropout, rows, x_TF), bias));
}

at::Tensor gated_activation(const at::Tensor& gate_TF, const at::Tensor& up_TF, cuda::Activation act,
                            const DropoutSite& dropout, const Batch& rows) {
  if (act == cuda::Activation::relu) throw_error("gated_activation: relu has no kernel; silu, gelu and gelu_tanh have");
  check_rows("gated_activation", gate_TF);
  check_alike("gated_activation", "up", up_TF, gate_TF);
  return GatedActivation::apply(gate_TF, up_TF, make_call(act, named_masks(dropout, rows, gate_TF)));
}

}  // namespace peft::custom
