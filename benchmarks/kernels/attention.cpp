/// ntk_attention, kv_assembly, prefix_attention and packed_attention: attention of one layer with a state or a prefix, forward and
/// backward, on FlashAttention-2 or in one pass; and what the selector decides between.

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <memory>

#include "benchmarks/kernels/harness.h"
#include "src/kernels/attention/custom_packed.h"
#include "src/kernels/attention/custom_source.h"
#include "src/kernels/attention/varlen.h"

namespace peft::bench {
namespace {

struct Shape {
  std::string name;
  int64_t sequences, length, heads, groups, width, adapters = 1, prefix = 0;
};

/// Inputs of a call, and what a trained source holds.
struct Inputs {
  AttentionArgs args;
  at::Tensor q, k, v, dout, out, lse;  ///< out, lse: of the softmax part alone
  SourceTensors source;
};

Inputs make_inputs(const Shape& s, bool state) {
  Inputs in;
  const Batch rows = batch_on_gpu(s.sequences, s.length, s.adapters);
  in.args = {.queries = rows, .keys = rows, .scale = 1.0 / std::sqrt(static_cast<double>(s.width))};
  const int64_t t = rows->rows();
  const auto narrow = on_gpu(at::kBFloat16), wide = on_gpu(at::kFloat);
  // As slices of one fused projection.
  const auto qkv = at::randn({t, (s.heads + 2 * s.groups) * s.width}, narrow)
                       .split_with_sizes({s.heads * s.width, s.groups * s.width, s.groups * s.width}, 1);
  in.q = qkv[0].unflatten(1, {s.heads, s.width});
  in.k = qkv[1].unflatten(1, {s.groups, s.width});
  in.v = qkv[2].unflatten(1, {s.groups, s.width});
  in.dout = at::randn({t, s.heads, s.width}, narrow);
  if (state) {
    in.source.z = at::randn({s.adapters, s.heads, s.width, s.width}, wide);
    in.source.den = at::randn({s.adapters, s.heads, s.width}, wide).abs();
    in.args.state = {.z_KHMD = in.source.z, .den_KHM = in.source.den};
  } else if (s.prefix > 0) {
    in.source.prefix_k = at::randn({s.adapters, s.prefix, s.groups, s.width}, narrow);
    in.source.prefix_v = at::randn_like(in.source.prefix_k);
    in.args.prefix = {in.source.prefix_k, in.source.prefix_v};
  }
  const VarlenOut self = flash_ops().forward(in.q, in.k, in.v, {rows, rows, in.args.scale, false});
  in.out = self.out_THD;
  in.lse = self.lse_HT;
  return in;
}

Inputs in_double(const Inputs& in) {
  Inputs wide = in;
  for (at::Tensor* x : {&wide.q, &wide.k, &wide.v, &wide.dout, &wide.out, &wide.lse, &wide.source.prefix_k,
                        &wide.source.prefix_v, &wide.source.z, &wide.source.den}) {
    if (x->defined()) *x = x->to(at::kDouble);
  }
  wide.args.prefix = {wide.source.prefix_k, wide.source.prefix_v};
  wide.args.state.z_KHMD = wide.source.z;
  wide.args.state.den_KHM = wide.source.den;
  return wide;
}

using MakeSource = std::unique_ptr<SourceRoute> (*)(const AttentionArgs&, const at::Tensor&);
std::unique_ptr<SourceRoute> stock(const AttentionArgs& args, const at::Tensor&) { return stock_source(args); }

/// The whole call: source, operator, and both backward.     out, dq, dk, dv, gradients of the source
std::vector<at::Tensor> whole(const Inputs& in, SourceRoute& route) {
  const Batch keys = route.key_rows(in.args.keys);
  const VarlenArgs shape{in.args.queries, keys, in.args.scale, false};
  const auto [k, v] = route.keys_and_values(in.k, in.v, in.source);
  VarlenOut result = flash_ops().forward(in.q, k, v, shape);
  result.out_THD = route.merge(in.q, result.out_THD, result.lse_HT, in.source);
  auto d = flash_ops().backward(in.dout, in.q, k, v, result.out_THD, result.lse_HT, shape);
  const SourceTensors g = route.backward({in.dout, in.q, result.out_THD, result.lse_HT}, in.source, d);
  std::vector<at::Tensor> all{result.out_THD, d[0], d[1], d[2]};
  for (const at::Tensor& x : {g.prefix_k, g.prefix_v, g.z}) {
    if (x.defined()) all.push_back(x);
  }
  return all;
}

using Route = at::Tensor (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&, const AttentionArgs&);

/// The same by a route of autograd's, on the inputs in `type`.
std::vector<at::Tensor> by_autograd(const Inputs& in, Route route, at::ScalarType type) {
  const auto leaf = [type](const at::Tensor& x) { return x.detach().to(type).requires_grad_(true); };
  AttentionArgs args = in.args;
  std::vector<at::Tensor> leaves{leaf(in.q), leaf(in.k), leaf(in.v)};
  if (args.prefix.defined()) {
    leaves.push_back(args.prefix.k_KPGD = leaf(in.source.prefix_k));
    leaves.push_back(args.prefix.v_KPGD = leaf(in.source.prefix_v));
  } else if (args.state.defined()) {
    leaves.push_back(args.state.z_KHMD = leaf(in.source.z));
    args.state.den_KHM = in.source.den.to(type);
  }
  const at::Tensor out = route(leaves[0], leaves[1], leaves[2], args);
  const auto d = torch::autograd::grad({out}, leaves, {in.dout.to(type)});
  std::vector<at::Tensor> all{out.detach()};
  all.insert(all.end(), d.begin(), d.end());
  return all;
}

Json json_of(const Shape& s) {
  return {{"name", s.name},     {"T", s.sequences * s.length},
          {"B", s.sequences},   {"H", s.heads},
          {"G", s.groups},      {"D", s.width},
          {"K", s.adapters},    {"P", s.prefix},
          {"dtype", "bfloat16"}};
}

/// A case without variants yet, a set for each of `inputs`; the reference gives its results.
Case reference_case(std::string bench, Json shape, double bytes, double predicted,
                    const std::shared_ptr<std::vector<Inputs>>& inputs) {
  return {.bench = std::move(bench),
          .shape = std::move(shape),
          .bytes = bytes,
          .predicted_ratio = predicted,
          .sets = static_cast<int>(inputs->size()),
          .expected = [inputs] { return by_autograd(inputs->front(), attention_reference, at::kDouble); },
          .tolerance = 1e-2,
          .variants = {}};
}

/// Forward, softmax backward and source, of one layer.
Case layer_case(const Shape& s, bool state, double predicted,
                const std::vector<std::pair<std::string, MakeSource>>& routes) {
  const double rows = static_cast<double>(s.sequences * s.length * s.width),
               bytes = 2.0 * rows * (4.0 * s.heads + 2.0 * s.groups) + 2.0 * rows * (4.0 * s.heads + 4.0 * s.groups);
  const int sets = sets_beyond_cache(bytes);
  auto inputs = std::make_shared<std::vector<Inputs>>();
  for (int i = 0; i < sets; ++i) inputs->push_back(make_inputs(s, state));
  Case c =
      reference_case(state ? "ntk_attention.layer" : "prefix_attention.layer", json_of(s), bytes, predicted, inputs);
  for (const auto& [name, make] : routes) {
    auto sources = std::make_shared<std::vector<std::unique_ptr<SourceRoute>>>();
    for (const Inputs& in : *inputs) sources->push_back(make(in.args, in.q));
    c.variants.push_back({name, [inputs, sources](int set) { return whole((*inputs)[set], *(*sources)[set]); }});
  }
  if (!state) {
    c.variants.push_back({"custom, packed_attention",
                          [inputs](int set) { return by_autograd((*inputs)[set], attention_packed, at::kBFloat16); }});
  }
  return c;
}

/// The implementations of attention() beside each other, forward and backward: what the selector decides between.
Case implementation_case(const Shape& s, bool causal, bool biased, double predicted,
                         const std::vector<AttentionImplementation>& implementations) {
  const double rows = static_cast<double>(s.sequences * s.length * s.width),
               bytes = 2.0 * rows * (6.0 * s.heads + 6.0 * s.groups);
  const int sets = sets_beyond_cache(bytes);
  auto inputs = std::make_shared<std::vector<Inputs>>();
  for (int i = 0; i < sets; ++i) {
    inputs->push_back(make_inputs(s, false));
    inputs->back().args.causal = causal;
    if (biased)
      inputs->back().args.bias = {.table_NH = at::randn({32, s.heads}, on_gpu(at::kFloat)), .bidirectional = !causal};
  }
  Json shape = json_of(s);
  shape["causal"] = causal;
  shape["bias"] = biased;
  Case c = reference_case("attention.implementations", std::move(shape), bytes, predicted, inputs);
  for (const AttentionImplementation implementation : implementations) {
    c.variants.push_back({std::string(name_of(implementation)), [inputs, implementation](int set) {
                            Inputs in = (*inputs)[set];
                            in.args.implementation = implementation;
                            return by_autograd(in, attention, at::kBFloat16);
                          }});
  }
  return c;
}

/// A prefix merged into a given part in plain ATen and the type of q: softmax(scale q Pk^T) Pv, and its gradients.
class PlainPrefix final : public SourceRoute {
 public:
  explicit PlainPrefix(const AttentionArgs& args) : scale_(args.scale) {}

  at::Tensor merge(const at::Tensor& q, const at::Tensor& out, const at::Tensor& lse_HT,
                   const SourceTensors& source) override {
    const at::Tensor s = scale_ * products(q, source.prefix_k), self = rows(lse_HT.t(), source),
                     lse = at::logaddexp(self, at::logsumexp(s, -1)), p = at::exp(s - lse.unsqueeze(-1));
    const at::Tensor of_prefix = sum("krhp,kphd->krhd", p, of_heads(source.prefix_v, q)),
                     merged = at::exp(self - lse).unsqueeze(-1) * rows(out, source) + of_prefix;
    lse_HT.copy_(lse.flatten(0, 1).t());  // last: self is a view of it
    return merged.flatten(0, 1).to(q.scalar_type());
  }

  SourceTensors backward(const MergedAttention& m, const SourceTensors& source,
                         std::array<at::Tensor, 3>& gradients) override {
    const at::Tensor p = at::exp(scale_ * products(m.q, source.prefix_k) - rows(m.lse_HT.t(), source).unsqueeze(-1)),
                     delta = rows(m.dout.to(p.scalar_type()) * m.out, source).sum(-1, true),
                     ds = scale_ * p * (products(m.dout, source.prefix_v) - delta),
                     dq = sum("krhp,kphd->krhd", ds, of_heads(source.prefix_k, m.q)).flatten(0, 1);
    gradients[0] = (gradients[0] + dq).to(m.q.scalar_type());
    const auto of_groups = [&](const at::Tensor& weights_KRHP, const at::Tensor& x_THD) {
      return sum("krhp,krhd->kphd", weights_KRHP, rows(x_THD, source))
          .unflatten(2, {source.prefix_k.size(2), -1})
          .sum(3);
    };
    return {of_groups(ds, m.q), of_groups(p, m.dout), {}, {}};
  }

 private:
  static at::Tensor rows(const at::Tensor& x, const SourceTensors& source) {
    return x.unflatten(0, {source.prefix_k.size(0), -1});
  }
  static at::Tensor of_heads(const at::Tensor& x_KPGD, const at::Tensor& q) {
    return x_KPGD.repeat_interleave(q.size(1) / x_KPGD.size(2), 2);
  }
  static at::Tensor widened(const at::Tensor& x) {
    return x.to(x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
  }
  static at::Tensor products(const at::Tensor& x_THD, const at::Tensor& y_KPGD) {  // [K,R,H,P]
    return widened(at::einsum("krhd,kphd->krhp", {x_THD.unflatten(0, {y_KPGD.size(0), -1}), of_heads(y_KPGD, x_THD)}));
  }
  static at::Tensor sum(c10::string_view indices, const at::Tensor& weights_KRHP, const at::Tensor& x) {
    return widened(at::einsum(indices, {weights_KRHP.to(x.scalar_type()), x}));
  }

  double scale_;
};
std::unique_ptr<SourceRoute> plain_prefix(const AttentionArgs& args, const at::Tensor&) {
  return std::make_unique<PlainPrefix>(args);
}

/// ntk_attention (a state) or prefix_attention (a prefix) alone, one way: what it adds to FlashAttention.
Case source_case(const Shape& s, bool state, bool forward, double predicted) {
  const double head_rows = static_cast<double>(s.sequences * s.length * s.heads),
               partials = head_rows / 512.0 * static_cast<double>(16 * s.prefix * s.width),
               backward_bytes =
                   state ? head_rows * (10.0 * s.width + 8.0) : head_rows * (16.0 * s.width + 20.0) + partials,
               bytes = forward ? head_rows * (6.0 * s.width + 8.0) : backward_bytes;
  const MakeSource custom = state ? custom_state : custom_prefix, plain = state ? stock : plain_prefix;
  const int sets = sets_beyond_cache(bytes);
  auto inputs = std::make_shared<std::vector<Inputs>>();
  for (int i = 0; i < sets; ++i) inputs->push_back(make_inputs(s, state));
  // dq of the softmax part is zero here: its own error would hide the kernel's.
  const auto run = [forward](const Inputs& in, SourceRoute& route, const at::Tensor& out, const at::Tensor& lse) {
    if (forward) {
      return std::vector<at::Tensor>{route.merge(in.q, out, lse, in.source), lse};
    }
    std::array<at::Tensor, 3> d{at::zeros(in.q.sizes(), in.dout.options()), {}, {}};
    const SourceTensors g = route.backward({in.dout, in.q, out, lse}, in.source, d);
    std::vector<at::Tensor> all{d[0]};
    for (const at::Tensor& x : {g.prefix_k, g.prefix_v, g.z}) {
      if (x.defined()) all.push_back(x);
    }
    return all;
  };
  // The backward pass of a merged output; the route that merged it knows its own part.
  const auto outputs = [forward](const Inputs& in, SourceRoute& route) {
    at::Tensor out = in.out.clone();
    const at::Tensor lse = in.lse.clone();
    if (!forward) out = route.merge(in.q, out, lse, in.source);
    return std::pair(out, lse);
  };
  Case c{.bench = fmt::format("{}_attention.{}", state ? "ntk" : "prefix", forward ? "forward" : "backward"),
         .shape = json_of(s),
         .bytes = bytes,
         .predicted_ratio = predicted,
         .sets = sets,
         .expected =
             [=] {
               const Inputs wide = in_double(inputs->front());
               const auto route = plain(wide.args, wide.q);
               const auto [out, lse] = outputs(wide, *route);
               return run(wide, *route, out, lse);
             },
         .variants = {}};
  for (const auto& [name, make] :
       std::vector<std::pair<std::string, MakeSource>>{{"custom", custom}, {"aten", plain}}) {
    auto sources = std::make_shared<std::vector<std::unique_ptr<SourceRoute>>>();
    auto merged = std::make_shared<std::vector<std::pair<at::Tensor, at::Tensor>>>();
    for (const Inputs& in : *inputs) {
      sources->push_back(make(in.args, in.q));
      merged->push_back(outputs(in, *sources->back()));
    }
    c.variants.push_back({name, [=](int set) {
                            const auto& [out, lse] = (*merged)[set];
                            return run((*inputs)[set], *(*sources)[set], out, lse);
                          }});
  }
  return c;
}

/// kv_assembly alone, one way: prefix rows in front of every sequence's keys and values, or their gradients apart.
Case assembly_case(const Shape& s, bool forward, double predicted) {
  const double rows = static_cast<double>(s.sequences * (2 * s.length + s.prefix) * s.groups * s.width),
               bytes = 2.0 * 2.0 * rows;
  auto inputs = std::make_shared<std::vector<Inputs>>();
  auto joined = std::make_shared<std::vector<std::array<at::Tensor, 2>>>();  // gradients of the keys and values
  for (int i = 0; i < sets_beyond_cache(bytes); ++i) {
    inputs->push_back(make_inputs(s, false));
    const auto gradient = [&] {
      return at::randn({s.sequences * (s.length + s.prefix), s.groups, s.width}, on_gpu(at::kBFloat16));
    };
    joined->push_back({gradient(), gradient()});
  }
  const auto run = [forward](const Inputs& in, SourceRoute& route, const std::array<at::Tensor, 2>& d) {
    if (forward) {
      const auto [k, v] = route.keys_and_values(in.k, in.v, in.source);
      return std::vector<at::Tensor>{k, v};
    }
    std::array<at::Tensor, 3> gradients{at::Tensor(), d[0], d[1]};
    const SourceTensors g = route.backward({}, in.source, gradients);
    return std::vector<at::Tensor>{gradients[1], gradients[2], g.prefix_k, g.prefix_v};
  };
  Case c{.bench = forward ? "kv_assembly.forward" : "kv_assembly.backward",
         .shape = json_of(s),
         .bytes = bytes,
         .predicted_ratio = predicted,
         .sets = static_cast<int>(inputs->size()),
         .expected =
             [=] {
               const Inputs wide = in_double(inputs->front());
               const auto& [dk, dv] = joined->front();
               return run(wide, *stock_source(wide.args), {dk.to(at::kDouble), dv.to(at::kDouble)});
             },
         .variants = {}};
  for (const auto& [name, make] :
       std::vector<std::pair<std::string, MakeSource>>{{"custom", custom_assembly}, {"aten", stock}}) {
    auto routes = std::make_shared<std::vector<std::unique_ptr<SourceRoute>>>();
    for (const Inputs& in : *inputs) {
      routes->push_back(make(in.args, in.q));
      routes->back()->keys_and_values(in.k, in.v, in.source);
    }
    c.variants.push_back({name, [=](int set) { return run((*inputs)[set], *(*routes)[set], (*joined)[set]); }});
  }
  return c;
}

}  // namespace

std::vector<MakeCase> attention_cases() {
  const Shape bert{"BERT-base B32 N128", 32, 128, 12, 12, 64}, mini{"MiniLM B32 N64", 32, 64, 12, 12, 32},
      llama{"Llama-8B B4 N1024", 4, 1024, 32, 8, 128},
      bank{"BERT-base, 8 adapters x 1280 rows", 80, 128, 12, 12, 64, 8};
  std::vector<MakeCase> cases;
  for (const Shape& s : {bert, mini, llama, bank}) {
    cases.push_back([s] { return source_case(s, true, true, 3.0); });
    cases.push_back([s] { return source_case(s, true, false, 4.0); });
    cases.push_back([s] { return layer_case(s, true, 2.0, {{"custom", custom_state}, {"aten", stock}}); });
    for (const int64_t prefix : {20, 128}) {
      Shape p = s;
      p.prefix = prefix;
      cases.push_back([p] { return source_case(p, false, true, 4.0); });
      cases.push_back([p] { return source_case(p, false, false, 4.0); });
      cases.push_back([p] { return assembly_case(p, true, 2.0); });
      cases.push_back([p] { return assembly_case(p, false, 3.0); });
      cases.push_back([p] {
        return layer_case(
            p, false, 1.3,
            {{"custom, prefix_attention", custom_prefix}, {"custom, kv_assembly", custom_assembly}, {"aten", stock}});
      });
    }
  }
  using enum AttentionImplementation;
  Shape long_prefix = llama, short_prefix = bert, long_sequences = bert;
  long_prefix.prefix = 128;
  short_prefix.prefix = 20;
  long_sequences = {"BERT-base B8 N1024", 8, 1024, 12, 12, 64};
  const Shape t5{"T5-base B32 N128", 32, 128, 12, 12, 64}, long_t5{"T5-base B8 N512", 8, 512, 12, 12, 64};
  // ours first, then what it competes with
  cases.push_back([=] { return implementation_case(bert, false, false, 1.1, {packed, flash, cudnn, efficient}); });
  cases.push_back([=] { return implementation_case(long_sequences, false, false, 1.0, {flash, cudnn, efficient}); });
  cases.push_back([=] { return implementation_case(short_prefix, true, false, 1.3, {packed, flash, cudnn}); });
  cases.push_back([=] { return implementation_case(long_prefix, true, false, 1.0, {packed, flash, cudnn}); });
  cases.push_back([=] { return implementation_case(t5, false, true, 2.0, {packed, efficient}); });
  cases.push_back([=] { return implementation_case(long_t5, true, true, 1.5, {packed, efficient}); });
  return cases;
}

}  // namespace peft::bench
