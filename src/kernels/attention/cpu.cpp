#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <limits>

#include "src/kernels/attention/internal.h"
#include "src/kernels/attention/state_internal.h"

namespace peft {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// [n,H,D] rows of one part as the op's [1,H,n,D], a view.
at::Tensor heads_first(const at::Tensor& rows_NHD) { return rows_NHD.transpose(0, 1).unsqueeze(0); }

struct Part {
  at::Tensor out_NHD, lse_NH;
};

/// Softmax over one set of keys, with its log-sum-exp.
Part part_forward(const at::Tensor& q_NHD, const at::Tensor& k_MGD, const at::Tensor& v_MGD, double scale,
                  bool causal) {
  auto [out, lse] = at::_scaled_dot_product_flash_attention_for_cpu(
      heads_first(q_NHD), heads_first(k_MGD), heads_first(v_MGD), 0.0, causal, std::nullopt, scale);
  return {out.squeeze(0).transpose(0, 1), lse.squeeze(0).t()};
}

struct PartGradients {
  at::Tensor dq_NHD, dk_MGD, dv_MGD;
};

/// Exact for any part of the keys when `out` and `lse` are the merged ones: the op uses them only in exp(s - lse) and
/// rowsum(dout * out) (docs/kernels.md#merging-parts).
PartGradients part_backward(const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const at::Tensor& out, const at::Tensor& lse_NH, double scale, bool causal) {
  auto [dq, dk, dv] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
      heads_first(dout), heads_first(q), heads_first(k), heads_first(v), heads_first(out), lse_NH.t().unsqueeze(0), 0.0,
      causal, std::nullopt, scale);
  const auto rows_first = [](const at::Tensor& x) { return x.squeeze(0).transpose(0, 1); };
  return {rows_first(dq), rows_first(dk), rows_first(dv)};
}

void merge(const at::Tensor& out_NHD, const at::Tensor& lse_NH, const Part& prefix) {
  const at::Tensor merged = at::logaddexp(lse_NH, prefix.lse_NH);
  const at::Tensor self = at::exp(lse_NH - merged).unsqueeze(-1), other = at::exp(prefix.lse_NH - merged).unsqueeze(-1);
  out_NHD.copy_(out_NHD * self + prefix.out_NHD * other);  // in float32 for bfloat16 outputs: the weights are float32
  lse_NH.copy_(merged);
}

/// body(table, first row, rows) for the rows that share a prefix table: those of an adapter, or of a sequence.
template <class Body>
void for_tables(const AttentionArgs& args, const Body& body) {
  const PackedBatch& queries = *args.queries;
  if (args.prefix.per_sequence)
    return for_sequences(queries, [&](int64_t b) { body(b, queries.begin(b), queries.length(b)); });
  for (int64_t k = 0; k < queries.adapters(); ++k) {
    const int64_t begin = queries.group_rows()[k], rows = queries.group_rows()[k + 1] - begin;
    if (rows > 0) body(k, begin, rows);
  }
}

/// Own keys of sequence b that its queries see, and whether a causal mask says which. One query needs none: it sees the first few.
struct VisibleKeys {
  int64_t count;
  bool causal;
};
VisibleKeys visible_keys(const AttentionArgs& args, int64_t b) {
  const PackedBatch &queries = *args.queries, &keys = *args.keys;
  const int64_t length = keys.length(b);
  if (!args.causal || queries.length(b) != 1) return {length, args.causal};
  const int64_t query = queries.position(b, queries.begin(b));
  int64_t count = 0;
  while (count < length && keys.position(b, keys.begin(b) + count) <= query) ++count;
  return {count, false};
}

/// The sequence part runs one sequence at a time, the prefix part one adapter at a time over all its rows, the state part after both;
/// they meet in `merge` and `merge_state`.
struct CpuAttention : torch::autograd::Function<CpuAttention> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const std::optional<at::Tensor>& prefix_k, const std::optional<at::Tensor>& prefix_v,
                            const std::optional<at::Tensor>& state_z, const std::optional<at::Tensor>& state_den,
                            const std::shared_ptr<const AttentionArgs>& args) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const at::Tensor pk = prefix_k.value_or(at::Tensor()), pv = prefix_v.value_or(at::Tensor()),
                     z = state_z.value_or(at::Tensor()), den = state_den.value_or(at::Tensor());
    at::Tensor out = at::zeros({q.size(0), q.size(1), v.size(2)}, q.options());
    at::Tensor lse = at::full({q.size(0), q.size(1)}, -std::numeric_limits<double>::infinity(),
                              q.options().dtype(accumulation_type(q)));
    for_sequences(*args->queries, [&](int64_t b) {
      const int64_t n = args->queries->length(b);
      const auto [m, causal] = visible_keys(*args, b);
      if (m == 0) return;
      const Part part = part_forward(q.narrow(0, args->queries->begin(b), n), k.narrow(0, args->keys->begin(b), m),
                                     v.narrow(0, args->keys->begin(b), m), args->scale, causal);
      out.narrow(0, args->queries->begin(b), n).copy_(part.out_NHD);
      lse.narrow(0, args->queries->begin(b), n).copy_(part.lse_NH);
    });
    if (pk.defined()) {
      for_tables(*args, [&](int64_t a, int64_t begin, int64_t rows) {
        merge(out.narrow(0, begin, rows), lse.narrow(0, begin, rows),
              part_forward(q.narrow(0, begin, rows), pk[a], pv[a], args->scale, false));
      });
    }
    if (z.defined()) merge_state(out, lse.unsqueeze(-1), q, z, den, *args);
    ctx->save_for_backward({q, k, v, pk, pv, z, den, out, lse});
    ctx->saved_data["args"] = HeldArgs::wrap(args);
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const auto saved = ctx->get_saved_variables();
    const at::Tensor dout_given = grads[0];
    const auto& args = HeldArgs::unwrap(ctx->saved_data["args"]);
    // The op's backward in bfloat16 is several times slower than in float32 (docs/kernels.md#attention-routes).
    const auto wide = [&](const at::Tensor& x) {
      return x.defined() && x.scalar_type() == at::kBFloat16 ? x.to(at::kFloat) : x;
    };
    const at::Tensor q = wide(saved[0]), k = wide(saved[1]), v = wide(saved[2]), pk = wide(saved[3]),
                     pv = wide(saved[4]), out = wide(saved[7]), dout = wide(dout_given);
    const at::Tensor &z = saved[5], &den = saved[6], &lse = saved[8];
    at::Tensor dq = at::zeros(q.sizes(), q.options()), dk = at::zeros(k.sizes(), k.options()),
               dv = at::zeros(v.sizes(), v.options());
    for_sequences(*args.queries, [&](int64_t b) {
      const int64_t n = args.queries->length(b), q0 = args.queries->begin(b), k0 = args.keys->begin(b);
      const auto [m, causal] = visible_keys(args, b);
      if (m == 0) return;
      const PartGradients g =
          part_backward(dout.narrow(0, q0, n), q.narrow(0, q0, n), k.narrow(0, k0, m), v.narrow(0, k0, m),
                        out.narrow(0, q0, n), lse.narrow(0, q0, n), args.scale, causal);
      dq.narrow(0, q0, n).copy_(g.dq_NHD);
      dk.narrow(0, k0, m).copy_(g.dk_MGD);
      dv.narrow(0, k0, m).copy_(g.dv_MGD);
    });
    at::Tensor dpk, dpv;
    if (pk.defined()) {
      dpk = at::zeros(pk.sizes(), pk.options());
      dpv = at::zeros(pv.sizes(), pv.options());
      for_tables(args, [&](int64_t a, int64_t begin, int64_t rows) {
        const PartGradients g =
            part_backward(dout.narrow(0, begin, rows), q.narrow(0, begin, rows), pk[a], pv[a],
                          out.narrow(0, begin, rows), lse.narrow(0, begin, rows), args.scale, false);
        dq.narrow(0, begin, rows).add_(g.dq_NHD);
        dpk[a].copy_(g.dk_MGD);
        dpv[a].copy_(g.dv_MGD);
      });
    }
    StateGradients state;
    if (z.defined()) {
      state = state_backward(dout, out, lse.unsqueeze(-1), q, z, den, args);
      dq.add_(state.dq_THD);
    }
    const auto narrow_again = [&](const at::Tensor& x) { return x.defined() ? x.to(saved[0].scalar_type()) : x; };
    return {narrow_again(dq),  narrow_again(dk), narrow_again(dv), narrow_again(dpk),
            narrow_again(dpv), state.dz_KHMD,    state.dden_KHM,   at::Tensor()};
  }
};

}  // namespace

at::Tensor attention_cpu(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionArgs& args) {
  const SourceInputs source = source_inputs(args, q);
  return CpuAttention::apply(q, k, v, source.prefix_k, source.prefix_v, source.z, source.den,
                             std::make_shared<const AttentionArgs>(args));
}

}  // namespace peft
