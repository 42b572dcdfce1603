#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <atomic>

#include "src/kernels/attention/internal.h"
#include "src/kernels/attention/state_internal.h"
#include "src/kernels/cpu_rows.h"

namespace peft {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Sequences of one adapter whose prefix is packed once, and whose gradients of it are added up by one thread.
constexpr int64_t kSequencesOfARange = 8;

/// What the kernel reads by rows: the numbers of a head have to lie one after another.
at::Tensor readable(const at::Tensor& x_THD) { return x_THD.stride(2) == 1 ? x_THD : x_THD.contiguous(); }

cpu::HeadRows rows_of(const at::Tensor& x_THD) { return {x_THD.const_data_ptr(), x_THD.stride(0), x_THD.stride(1)}; }

/// The arguments of a call, and what they point to.
struct Call {
  cpu::PackedAttention kernel;
  std::vector<cpu::PackedSequence> sequences;
  std::vector<cpu::SequenceRange> ranges;
  std::vector<cpu::MaskNames> masks;
  std::vector<at::Tensor> held;
  at::Tensor buckets_S;  // of the distances, int32
  const cpu::PackedAttentionKernel& code = cpu::kernels().attention;

  /// body(range, key head). Threads take the next heads of a sequence when they are free: lengths differ.
  template <class Body>
  void for_units(const Body& body) const {
    const int64_t heads = kernel.key_heads, count = static_cast<int64_t>(ranges.size()) * heads,
                  threads = at::get_num_threads(), step = std::clamp<int64_t>(count / (8 * threads), 1, heads);
    std::atomic<int64_t> next{0};
    at::parallel_for(0, std::min(threads, count), 1, [&](int64_t, int64_t) {
      for (int64_t first = next.fetch_add(step); first < count; first = next.fetch_add(step)) {
        for (int64_t u = first; u < std::min(first + step, count); ++u) body(u / heads, u % heads);
      }
    });
  }
};

void add_sequences(Call& call, const AttentionArgs& args) {
  const PackedBatch &queries = *args.queries, &keys = *args.keys;
  const bool shared = args.prefix.defined() && !args.prefix.per_sequence;
  for (int64_t b = 0; b < queries.sequences(); ++b) {
    call.sequences.push_back({.first_query = queries.begin(b),
                              .queries = queries.length(b),
                              .first_key = keys.begin(b),
                              .keys = keys.length(b),
                              .query_start = queries.start(b),
                              .key_start = keys.start(b),
                              .adapter = queries.adapter(b),
                              .table = prefix_table(args, b),
                              .ordinal = static_cast<uint32_t>(queries.ordinal(b))});
    const bool same = shared && b > 0 && queries.adapter(b) == queries.adapter(b - 1) &&
                      b - call.ranges.back().first < kSequencesOfARange;
    if (same) {
      call.ranges.back().last = b + 1;
    } else {
      call.ranges.push_back({b, b + 1});
    }
  }
}

/// The bias of every distance between a key, or a pair, and a query.
void add_bias(Call& call, const AttentionArgs& args, const at::Tensor& table_NH) {
  int64_t least = 0, most = 0;
  for (const cpu::PackedSequence& s : call.sequences) {
    if (s.queries == 0) continue;
    const auto position = [](const PackedBatch& rows, int64_t b, int64_t t) { return rows.position(b, t); };
    const int64_t b = &s - call.sequences.data(), first = position(*args.queries, b, s.first_query),
                  last = position(*args.queries, b, s.first_query + s.queries - 1);
    least = std::min(least, s.key_start - call.kernel.prefix - last);
    if (s.keys > 0) most = std::max(most, position(*args.keys, b, s.first_key + s.keys - 1) - first);
  }
  call.kernel.zero = -least;
  const int64_t span = most - least + 1;
  call.kernel.span = span;
  call.kernel.bias_of_prefix = args.bias.covers_prefix;
  call.buckets_S = distance_buckets(args, -least, span);
  const at::Tensor bias_HS =
      at::constant_pad_nd(table_NH.detach().index_select(0, call.buckets_S).t(), {0, cpu::kBiasMargin}).contiguous();
  call.kernel.bias = bias_HS.const_data_ptr();
  call.held.push_back(bias_HS);
}

/// q, k and v readable, prefixes contiguous.
std::unique_ptr<Call> make_call(const AttentionArgs& args, const at::Tensor& q, const at::Tensor& k,
                                const at::Tensor& v, const at::Tensor& prefix_k, const at::Tensor& prefix_v,
                                const at::Tensor& bias) {
  auto call = std::make_unique<Call>();
  call->kernel = {.element = cpu_element(q.scalar_type()),
                  .heads = q.size(1),
                  .key_heads = k.size(1),
                  .width = q.size(2),
                  .query_index = args.queries->index().data(),
                  .key_index = args.keys->index().data(),
                  .scale = args.scale,
                  .causal = args.causal,
                  .window = args.window,
                  .q = rows_of(q),
                  .k = rows_of(k),
                  .v = rows_of(v)};
  if (prefix_k.defined()) {
    call->kernel.prefix = prefix_k.size(1);
    call->kernel.prefix_k = prefix_k.const_data_ptr();
    call->kernel.prefix_v = prefix_v.const_data_ptr();
  }
  add_sequences(*call, args);
  call->kernel.sequences = call->sequences.data();
  call->kernel.ranges = call->ranges.data();
  if (bias.defined()) add_bias(*call, args, bias);
  call->masks = mask_names(args.dropout);
  if (!call->masks.empty()) call->kernel.masks = call->masks.data();
  return call;
}

/// The gradient of each prefix table from those of the ranges, in their order.     [ranges,P,G,D] -> [tables,P,G,D]
at::Tensor sum_of_ranges(const at::Tensor& parts, const Call& call, const at::Tensor& tables) {
  at::Tensor sum = at::zeros(tables.sizes(), parts.options());
  for (std::size_t r = 0; r < call.ranges.size(); ++r) {
    sum[call.sequences[call.ranges[r].first].table].add_(parts[static_cast<int64_t>(r)]);
  }
  return sum.to(tables.scalar_type());
}

struct PackedCpuAttention : torch::autograd::Function<PackedCpuAttention> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& q_given, const at::Tensor& k_given,
                            const at::Tensor& v_given, const std::optional<at::Tensor>& prefix_k,
                            const std::optional<at::Tensor>& prefix_v, const std::optional<at::Tensor>& state_z,
                            const std::optional<at::Tensor>& state_den, const std::optional<at::Tensor>& bias_table,
                            const std::shared_ptr<const AttentionArgs>& args) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const at::Tensor q = readable(q_given), k = readable(k_given), v = readable(v_given),
                     pk = prefix_k ? prefix_k->contiguous() : at::Tensor(),
                     pv = prefix_v ? prefix_v->contiguous() : at::Tensor(), z = state_z.value_or(at::Tensor()),
                     den = state_den.value_or(at::Tensor()), bias = bias_table.value_or(at::Tensor());
    const auto call = make_call(*args, q, k, v, pk, pv, bias);
    at::Tensor out = at::empty({q.size(0), q.size(1), q.size(2)}, q.options()),
               lse = at::empty({q.size(0), q.size(1)}, q.options().dtype(accumulation_type(q)));
    const cpu::AttentionResult result{out.mutable_data_ptr(), lse.mutable_data_ptr()};
    call->for_units([&](int64_t range, int64_t head) { call->code.forward(call->kernel, result, range, head); });
    if (z.defined()) merge_state(out, lse.unsqueeze(-1), q, z, den, *args);
    ctx->save_for_backward({q, k, v, pk, pv, z, den, out, lse, bias});
    ctx->saved_data["args"] = HeldArgs::wrap(args);
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &q = saved[0], &k = saved[1], &v = saved[2], &pk = saved[3], &pv = saved[4], &z = saved[5],
                     &den = saved[6], &out = saved[7], &lse = saved[8], &bias = saved[9];
    const AttentionArgs& args = HeldArgs::unwrap(ctx->saved_data["args"]);
    const at::Tensor dout = readable(grads[0]);
    const auto call = make_call(args, q, k, v, pk, pv, bias);
    const at::TensorOptions sums = lse.options();
    at::Tensor dq = at::empty(q.sizes(), z.defined() ? sums : q.options()), dk = at::empty(k.sizes(), k.options()),
               dv = at::empty(v.sizes(), v.options()), dpk, dpv, dbias;
    cpu::AttentionGradients g{.dout = rows_of(dout),
                              .out = rows_of(out),
                              .lse = lse.const_data_ptr(),
                              .wide_dq = z.defined(),
                              .dq = dq.mutable_data_ptr(),
                              .dk = dk.mutable_data_ptr(),
                              .dv = dv.mutable_data_ptr()};
    const auto ranges = static_cast<int64_t>(call->ranges.size());
    if (pk.defined()) {
      dpk = at::zeros({ranges, pk.size(1), pk.size(2), pk.size(3)}, sums);
      dpv = at::zeros_like(dpk);
      g.dprefix_k = dpk.mutable_data_ptr();
      g.dprefix_v = dpv.mutable_data_ptr();
    }
    if (bias.defined() && args.bias.table_NH.requires_grad()) {
      dbias = at::zeros({ranges, bias.size(0), bias.size(1)}, sums);
      g.dbias = dbias.mutable_data_ptr();
      g.buckets_of = call->buckets_S.const_data_ptr<int32_t>();
      g.buckets = bias.size(0);
    }
    call->for_units([&](int64_t range, int64_t head) { call->code.backward(call->kernel, g, range, head); });
    if (pk.defined()) {
      dpk = sum_of_ranges(dpk, *call, pk);
      dpv = sum_of_ranges(dpv, *call, pv);
    }
    if (dbias.defined()) dbias = dbias.sum(0);
    StateGradients state;
    if (z.defined()) {
      state = state_backward(dout, out, lse.unsqueeze(-1), q, z, den, args);
      dq = dq.add_(state.dq_THD).to(q.scalar_type());  // rounded once
    }
    return {dq, dk, dv, dpk, dpv, state.dz_KHMD, state.dden_KHM, dbias, at::Tensor()};
  }
};

}  // namespace

at::Tensor attention_cpu(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionArgs& args) {
  const SourceInputs source = source_inputs(args, q);
  return PackedCpuAttention::apply(q, k, v, source.prefix_k, source.prefix_v, source.z, source.den, source.bias,
                                   std::make_shared<const AttentionArgs>(args));
}

}  // namespace peft
