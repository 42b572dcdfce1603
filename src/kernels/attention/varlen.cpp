#include "src/kernels/attention/varlen.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "src/kernels/attention/dense.h"
#include "src/kernels/attention/internal.h"

namespace peft {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// One call, from its forward to its backward.
struct Call : torch::CustomClassHolder {
  Call(const AttentionArgs& args, const VarlenOps& operators, std::unique_ptr<SourceRoute> its_source,
       const at::Tensor& q)
      : ops(operators), source(std::move(its_source)) {
    const Batch keys = source ? source->key_rows(args.keys) : args.keys;
    shape = {args.queries, keys, args.scale, args.causal, args.window};
    if (args.bias.defined()) add_dense_bias(shape, args, q);
    for (int64_t b = 0; b < args.queries->sequences(); ++b) {
      const int64_t rows = keys->length(b) == 0 ? args.queries->length(b) : 0;
      if (rows > 0) keyless.emplace_back(args.queries->begin(b), rows);
    }
  }

  const VarlenOps& ops;
  std::unique_ptr<SourceRoute> source;  ///< null: none
  VarlenArgs shape;
  std::vector<std::pair<int64_t, int64_t>> keyless;  ///< first row and rows of sequences without keys
};

struct VarlenAttention : torch::autograd::Function<VarlenAttention> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const std::optional<at::Tensor>& prefix_k, const std::optional<at::Tensor>& prefix_v,
                            const std::optional<at::Tensor>& z, const std::optional<at::Tensor>& den,
                            const c10::intrusive_ptr<Call>& call) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const auto held = [](const std::optional<at::Tensor>& x, at::ScalarType type) {
      return x ? x->to(type).contiguous() : at::Tensor();
    };
    const SourceTensors source{held(prefix_k, q.scalar_type()), held(prefix_v, q.scalar_type()),
                               held(z, accumulation_type(q)), held(den, accumulation_type(q))};
    const auto [keys, values] =
        call->source ? call->source->keys_and_values(k, v, source) : std::array<at::Tensor, 2>{k, v};
    auto [out, lse] = call->ops.forward(q, keys, values, call->shape);
    for (const auto& [first, rows] : call->keyless) {  // operators write 0, +inf or nothing
      out.narrow(0, first, rows).zero_();
      lse.narrow(1, first, rows).fill_(-kInfinity);
    }
    if (call->source) out = call->source->merge(q, out, lse, source);
    ctx->save_for_backward({q, keys, values, out, lse, source.prefix_k, source.prefix_v, source.z, source.den});
    ctx->saved_data["call"] = at::IValue::make_capsule(call);
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &q = saved[0], &keys = saved[1], &values = saved[2], &out = saved[3], &lse = saved[4];
    const SourceTensors source{saved[5], saved[6], saved[7], saved[8]};
    const auto held = ctx->saved_data["call"].toCapsule();
    const auto& call = static_cast<const Call&>(*held);
    const at::Tensor dout = grads[0].contiguous();
    // -inf says "nothing to attend to"; exp(s - lse) must be zero there.
    const at::Tensor self_lse = at::where(lse == -kInfinity, kInfinity, lse);
    std::array<at::Tensor, 3> d = call.ops.backward(dout, q, keys, values, out, self_lse, call.shape);
    SourceTensors of_source;
    if (call.source) of_source = call.source->backward({dout, q, out, lse}, source, d);
    return {d[0], d[1], d[2], of_source.prefix_k, of_source.prefix_v, of_source.z, of_source.den, at::Tensor()};
  }
};

}  // namespace

at::Tensor attention_varlen(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionArgs& args,
                            const VarlenOps& ops, std::unique_ptr<SourceRoute> source) {
  const auto input = [](const at::Tensor& x) { return x.defined() ? std::optional(x) : std::nullopt; };
  return VarlenAttention::apply(q, k, v, input(args.prefix.k_KPGD), input(args.prefix.v_KPGD), input(args.state.z_KHMD),
                                input(args.state.den_KHM), c10::make_intrusive<Call>(args, ops, std::move(source), q));
}

}  // namespace peft
