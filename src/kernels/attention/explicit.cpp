#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <limits>

#include "src/kernels/attention/internal.h"
#include "src/kernels/attention/state_internal.h"

namespace peft {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// One sequence laid out for batched products: S = H/G query heads share a key head, so queries are [G, S n, D], keys [G, P+m, D].
class SequenceView {
 public:
  SequenceView(const AttentionArgs& args, int64_t b, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
               const at::Tensor& pk, const at::Tensor& pv, const at::Tensor& bias)
      : args_(args),
        b_(b),
        n_(args.queries->length(b)),
        m_(args.keys->length(b)),
        groups_(k.size(1)),
        share_(q.size(1) / k.size(1)),
        prefix_(pk.defined() ? pk.size(1) : 0),
        bias_(bias) {
    q_ = grouped_queries(q);
    k_ = joined_keys(k, pk);
    v_ = joined_keys(v, pv);
  }

  bool has_keys() const { return prefix_ + m_ > 0; }
  int64_t first_query() const { return args_.queries->begin(b_); }
  int64_t first_key() const { return args_.keys->begin(b_); }
  int64_t queries() const { return n_; }
  int64_t keys() const { return m_; }

  /// [Tq,H,D] -> this sequence's [G, S n, D] in the type of sums.
  at::Tensor grouped_queries(const at::Tensor& x) const {
    const at::Tensor rows = x.narrow(0, args_.queries->begin(b_), n_);
    return rows.view({n_, groups_, share_, -1})
        .permute({1, 2, 0, 3})
        .reshape({groups_, share_ * n_, x.size(2)})
        .to(accumulation_type(x));
  }
  at::Tensor to_query_rows(const at::Tensor& x) const {  // the inverse: [G, S n, D] -> [n,H,D]
    return x.view({groups_, share_, n_, -1}).permute({2, 0, 1, 3}).reshape({n_, groups_ * share_, x.size(2)});
  }
  at::Tensor scores() const {
    at::Tensor s = at::bmm(q_, k_.transpose(1, 2)).mul_(args_.scale);
    if (args_.causal) {
      s.narrow(2, prefix_, m_)
          .masked_fill_(behind_query(args_, b_, s.options()).repeat({share_, 1}),
                        -std::numeric_limits<double>::infinity());
    }
    if (bias_.defined()) s.add_(position_bias(args_, bias_, b_, prefix_, s.options()).reshape(s.sizes()));
    if (args_.window > 0) {
      s.masked_fill_(outside_window(args_, b_, prefix_, s.options()).repeat({share_, 1}),
                     -std::numeric_limits<double>::infinity());
    }
    return s;
  }
  /// Gradient of the bias from that of the scores, before their scale.     [G, S n, P+m] -> [buckets, H]
  at::Tensor bias_gradient(const at::Tensor& ds) const {
    const int64_t from = args_.bias.covers_prefix ? 0 : prefix_;
    const at::Tensor by_pair = ds.view({groups_ * share_, n_, -1}).narrow(2, from, prefix_ + m_ - from),
                     buckets = position_buckets(args_, b_, prefix_, ds.options()).narrow(1, from, prefix_ + m_ - from);
    return at::zeros_like(bias_).index_add_(0, buckets.flatten(), by_pair.permute({1, 2, 0}).flatten(0, 1));
  }
  /// [G, S n, P+m] multipliers of the probabilities; undefined without dropout.
  at::Tensor dropout_mask() const {
    if (!args_.dropout.active()) return {};
    return attention_dropout_mask(args_.dropout, *args_.queries, b_, groups_ * share_, prefix_, m_)
        .view({groups_, share_ * n_, prefix_ + m_})
        .to(q_.options());
  }
  const at::Tensor& q() const { return q_; }
  const at::Tensor& k() const { return k_; }
  const at::Tensor& v() const { return v_; }
  /// Splits a gradient [G, P+m, D] of the joined keys into rows [P,G,D] and [m,G,D].
  at::Tensor prefix_rows(const at::Tensor& x) const { return x.narrow(1, 0, prefix_).transpose(0, 1); }
  at::Tensor key_rows(const at::Tensor& x) const { return x.narrow(1, prefix_, m_).transpose(0, 1); }

 private:
  at::Tensor joined_keys(const at::Tensor& x, const at::Tensor& prefix) const {
    const at::Tensor self = x.narrow(0, args_.keys->begin(b_), m_).transpose(0, 1);
    const at::Tensor joined = prefix_ > 0 ? at::cat({prefix[prefix_table(args_, b_)].transpose(0, 1), self}, 1) : self;
    return joined.to(accumulation_type(x));
  }

  const AttentionArgs& args_;
  int64_t b_, n_, m_, groups_, share_, prefix_;
  at::Tensor q_, k_, v_, bias_;
};

/// A query that sees no key has nothing to share out: its scores are -infinity, and so would be their log-sum-exp.
at::Tensor finite_lse(const at::Tensor& lse) {
  return lse.masked_fill(lse == -std::numeric_limits<double>::infinity(), 0.0);
}

struct ExplicitAttention : torch::autograd::Function<ExplicitAttention> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const std::optional<at::Tensor>& prefix_k, const std::optional<at::Tensor>& prefix_v,
                            const std::optional<at::Tensor>& state_z, const std::optional<at::Tensor>& state_den,
                            const std::optional<at::Tensor>& bias_table,
                            const std::shared_ptr<const AttentionArgs>& args) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const at::Tensor pk = prefix_k.value_or(at::Tensor()), pv = prefix_v.value_or(at::Tensor()),
                     z = state_z.value_or(at::Tensor()), den = state_den.value_or(at::Tensor()),
                     bias = bias_table.value_or(at::Tensor());
    at::Tensor out = at::zeros({q.size(0), q.size(1), v.size(2)}, q.options());
    at::Tensor lse = at::full({q.size(0), q.size(1), 1}, -std::numeric_limits<double>::infinity(),
                              q.options().dtype(accumulation_type(q)));
    for_sequences(*args->queries, [&](int64_t b) {
      const SequenceView view(*args, b, q, k, v, pk, pv, bias);
      if (!view.has_keys()) return;
      const at::Tensor scores = view.scores(), row_lse = at::logsumexp(scores, -1, true);
      at::Tensor probabilities = at::exp(scores - finite_lse(row_lse));
      if (const at::Tensor mask = view.dropout_mask(); mask.defined()) probabilities.mul_(mask);
      out.narrow(0, view.first_query(), view.queries()).copy_(view.to_query_rows(at::bmm(probabilities, view.v())));
      lse.narrow(0, view.first_query(), view.queries()).copy_(view.to_query_rows(row_lse));
    });
    if (z.defined()) merge_state(out, lse, q, z, den, *args);
    ctx->save_for_backward({q, k, v, pk, pv, z, den, out, lse, bias});
    ctx->saved_data["args"] = HeldArgs::wrap(args);
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &q = saved[0], &k = saved[1], &v = saved[2], &pk = saved[3], &pv = saved[4], &z = saved[5],
                     &den = saved[6], &out = saved[7], &lse = saved[8], &bias = saved[9];
    const at::Tensor& dout = grads[0];
    const AttentionArgs& args = HeldArgs::unwrap(ctx->saved_data["args"]);
    at::Tensor dq = at::zeros(q.sizes(), lse.options()), dk = at::zeros(k.sizes(), k.options()),
               dv = at::zeros(v.sizes(), v.options());
    std::vector<std::array<at::Tensor, 2>> prefix_parts(args.queries->sequences());
    std::vector<at::Tensor> bias_parts(args.queries->sequences());
    for_sequences(*args.queries, [&](int64_t b) {
      const SequenceView view(args, b, q, k, v, pk, pv, bias);
      if (!view.has_keys()) return;
      const at::Tensor probabilities = at::exp(view.scores() - finite_lse(view.grouped_queries(lse)));
      const at::Tensor mask = view.dropout_mask(), d = view.grouped_queries(dout);
      const at::Tensor delta = (d * view.grouped_queries(out)).sum(-1, true);
      at::Tensor dp = at::bmm(d, view.v().transpose(1, 2));
      if (mask.defined()) dp.mul_(mask);
      at::Tensor ds = (dp - delta).mul_(probabilities);
      if (bias.defined()) bias_parts[b] = view.bias_gradient(ds);
      ds.mul_(args.scale);
      const at::Tensor dropped = mask.defined() ? probabilities * mask : probabilities;
      dq.narrow(0, view.first_query(), view.queries()).copy_(view.to_query_rows(at::bmm(ds, view.k())));
      const at::Tensor dk_all = at::bmm(ds.transpose(1, 2), view.q()), dv_all = at::bmm(dropped.transpose(1, 2), d);
      dk.narrow(0, view.first_key(), view.keys()).copy_(view.key_rows(dk_all));
      dv.narrow(0, view.first_key(), view.keys()).copy_(view.key_rows(dv_all));
      if (pk.defined()) prefix_parts[b] = {view.prefix_rows(dk_all), view.prefix_rows(dv_all)};
    });
    at::Tensor dpk, dpv;
    if (pk.defined()) {  // summed in the order of the sequences: repeatable whatever the threads did
      dpk = at::zeros(pk.sizes(), pk.options().dtype(accumulation_type(pk)));
      dpv = at::zeros(pv.sizes(), pv.options().dtype(accumulation_type(pv)));
      for (int64_t b = 0; b < args.queries->sequences(); ++b) {
        if (!prefix_parts[b][0].defined()) continue;
        dpk[prefix_table(args, b)].add_(prefix_parts[b][0]);
        dpv[prefix_table(args, b)].add_(prefix_parts[b][1]);
      }
      dpk = dpk.to(pk.scalar_type());
      dpv = dpv.to(pv.scalar_type());
    }
    at::Tensor dbias;
    if (bias.defined()) {
      dbias = at::zeros_like(bias);
      for (const at::Tensor& part : bias_parts) {
        if (part.defined()) dbias.add_(part);
      }
    }
    StateGradients state;
    if (z.defined()) {
      state = state_backward(dout, out, lse, q, z, den, args);
      dq.add_(state.dq_THD);  // in the type of sums: rounded once
    }
    return {dq.to(q.scalar_type()), dk, dv, dpk, dpv, state.dz_KHMD, state.dden_KHM, dbias, at::Tensor()};
  }
};

}  // namespace

at::Tensor attention_explicit(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                              const AttentionArgs& args) {
  const SourceInputs source = source_inputs(args, q);
  if (args.causal || args.bias.defined() ||
      args.window > 0) {  // made at first use, which must not be in several threads at once
    args.queries->position_T();
    args.keys->position_T();
  }
  return ExplicitAttention::apply(q, k, v, source.prefix_k, source.prefix_v, source.z, source.den, source.bias,
                                  std::make_shared<const AttentionArgs>(args));
}

}  // namespace peft
