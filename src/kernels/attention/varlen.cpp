#include "src/kernels/attention/varlen.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <limits>
#include <optional>

#include "src/kernels/attention/internal.h"
#include "src/kernels/attention/state_internal.h"

namespace peft {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Where the rows of [prefix tables ; keys] go, so that every sequence has its prefix in front of its own keys.
class Assembly {
 public:
  explicit Assembly(const AttentionArgs& args) : args_(args), prefix_(args.prefix.k_KPGD.size(1)) {
    const PackedBatch& keys = *args.keys;
    const int64_t tables = args.prefix.k_KPGD.size(0);
    std::vector<int64_t> joined, own, front;
    for (int64_t b = 0; b < keys.sequences(); ++b) {
      for (int64_t p = 0; p < prefix_; ++p) {
        front.push_back(static_cast<int64_t>(joined.size()));
        joined.push_back(prefix_table(args, b) * prefix_ + p);
      }
      for (int64_t r = keys.begin(b); r < keys.begin(b) + keys.length(b); ++r) {
        own.push_back(static_cast<int64_t>(joined.size()));
        joined.push_back(tables * prefix_ + r);
      }
    }
    const auto index = [&](const std::vector<int64_t>& x) {
      return at::tensor(at::ArrayRef<int64_t>(x), at::kLong).to(keys.device());
    };
    joined_ = index(joined);
    own_ = index(own);
    front_ = index(front);
  }

  at::Tensor join(const at::Tensor& prefix_KPGD, const at::Tensor& x_TGD) const {
    return at::cat({prefix_KPGD.flatten(0, 1), x_TGD}).index_select(0, joined_);
  }
  at::Tensor own_rows(const at::Tensor& dx) const { return dx.index_select(0, own_); }
  /// Sums over the sequences of each table, in float32 and one order.
  at::Tensor prefix_rows(const at::Tensor& dx) const {
    const at::Tensor parts_BPGD = dx.index_select(0, front_).unflatten(0, {-1, prefix_});
    if (args_.prefix.per_sequence) return parts_BPGD;
    std::vector<at::Tensor> sums;
    const auto& groups = args_.keys->group_sequences();
    for (std::size_t k = 0; k + 1 < groups.size(); ++k) {
      const at::Tensor own = parts_BPGD.narrow(0, groups[k], groups[k + 1] - groups[k]);
      sums.push_back(own.to(accumulation_type(dx)).sum(0).to(dx.scalar_type()));
    }
    return at::stack(sums);
  }

 private:
  const AttentionArgs& args_;
  int64_t prefix_;
  at::Tensor joined_, own_, front_;
};

/// One call, from its forward to its backward: the arguments and what was planned of them.
struct Call : torch::CustomClassHolder {
  Call(const AttentionArgs& given, const VarlenOps& operators) : args(given), ops(operators) {
    Batch keys = args.keys;
    if (args.prefix.defined()) {
      assembly.emplace(args);
      keys = keys->lengthened(args.prefix.k_KPGD.size(1));
    }
    shape = {args.queries->cu_seqlens(),
             keys->cu_seqlens(),
             args.queries->longest(),
             keys->longest(),
             args.scale,
             args.causal};
  }

  const AttentionArgs args;
  const VarlenOps& ops;
  std::optional<Assembly> assembly;  ///< with a prefix
  VarlenArgs shape;
};

struct VarlenAttention : torch::autograd::Function<VarlenAttention> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const std::optional<at::Tensor>& prefix_k, const std::optional<at::Tensor>& prefix_v,
                            const std::optional<at::Tensor>& state_z, const std::optional<at::Tensor>& state_den,
                            const c10::intrusive_ptr<Call>& call) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const at::Tensor z = state_z.value_or(at::Tensor()), den = state_den.value_or(at::Tensor());
    const at::Tensor keys = call->assembly ? call->assembly->join(*prefix_k, k) : k,
                     values = call->assembly ? call->assembly->join(*prefix_v, v) : v;
    auto [out, lse] = call->ops.forward(q, keys, values, call->shape);
    if (z.defined()) merge_state(out, lse.t().unsqueeze(-1), q, z, den, call->args);
    ctx->save_for_backward({q, keys, values, z, den, out, lse});
    ctx->saved_data["call"] = at::IValue::make_capsule(call);
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &q = saved[0], &keys = saved[1], &values = saved[2], &z = saved[3], &den = saved[4],
                     &out = saved[5], &lse = saved[6];
    const auto held = ctx->saved_data["call"].toCapsule();
    const auto& call = static_cast<const Call&>(*held);
    const at::Tensor dout = grads[0].contiguous();
    // -inf says "nothing to attend to"; exp(s - lse) must be zero there.
    const at::Tensor own_lse = at::where(lse == -kInfinity, kInfinity, lse);
    auto [dq, dk, dv] = call.ops.backward(dout, q, keys, values, out, own_lse, call.shape);
    at::Tensor dpk, dpv;
    if (call.assembly) {
      dpk = call.assembly->prefix_rows(dk);
      dpv = call.assembly->prefix_rows(dv);
      dk = call.assembly->own_rows(dk);
      dv = call.assembly->own_rows(dv);
    }
    StateGradients state;
    if (z.defined()) {
      state = state_backward(dout, out, lse.t().unsqueeze(-1), q, z, den, call.args);
      dq = (dq.to(accumulation_type(q)) + state.dq_THD).to(q.scalar_type());
    }
    return {dq, dk, dv, dpk, dpv, state.dz_KHMD, state.dden_KHM, at::Tensor()};
  }
};

/// Number of each row in [B, places].
at::Tensor padded_places(const at::Tensor& cu, int64_t rows, int64_t places) {
  const at::Tensor row = at::arange(rows, cu.options().dtype(at::kLong)), ends = cu.slice(0, 1).to(at::kLong);
  const at::Tensor sequence = at::searchsorted(ends, row, /*out_int32=*/false, /*right=*/true);
  return sequence * places + row - cu.to(at::kLong).index_select(0, sequence);
}

}  // namespace

at::Tensor attention_varlen(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionArgs& args,
                            const VarlenOps& ops) {
  const SourceInputs source = source_inputs(args, q);
  return VarlenAttention::apply(q, k, v, source.prefix_k, source.prefix_v, source.z, source.den,
                                c10::make_intrusive<Call>(args, ops));
}

at::Tensor lse_of_padded(const at::Tensor& lse_BHN, const at::Tensor& cu, int64_t rows) {
  return lse_BHN.transpose(0, 1).flatten(1).index_select(1, padded_places(cu, rows, lse_BHN.size(2)));
}

at::Tensor lse_to_padded(const at::Tensor& lse_HT, const at::Tensor& cu, int64_t places) {
  const int64_t heads = lse_HT.size(0), sequences = cu.size(0) - 1;
  at::Tensor padded = at::full({heads, sequences * places}, kInfinity, lse_HT.options());
  padded.index_copy_(1, padded_places(cu, lse_HT.size(1), places), lse_HT);
  return padded.view({heads, sequences, places}).transpose(0, 1).contiguous();
}

}  // namespace peft
