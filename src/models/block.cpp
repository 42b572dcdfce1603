#include "src/models/block.h"

#include <ATen/ATen.h>

#include "peft/kernels/grouped_matmul.h"
#include "peft/kernels/norm.h"

namespace peft {
namespace {

/// What a method adds is float32 beside a bfloat16 backbone: summed wide, rounded once, as peft does.
at::Tensor sum_wide(const at::Tensor& y, const at::Tensor& addition) {
  return addition.scalar_type() == y.scalar_type() ? y + addition : (y + addition).to(y.scalar_type());
}

at::Tensor with_bias(const at::Tensor& y, const BiasAddition& addition, const Batch& rows) {
  return sum_wide(y, grouped_rows(addition.bias_KO, rows->group_rows()));
}

/// Of x, or of x plus what dropout leaves of a branch.
NormedSum normed_sum(const Norm& norm, const at::Tensor& x, const at::Tensor& branch, const DropoutSite& site,
                     const StackPass& p, const Batch& rows) {
  if (!norm.weight_C.defined()) {  // a layer without this norm
    const at::Tensor sum = branch.defined() ? x + dropout(branch, site, rows, p.pass.execution) : x;
    return {sum, sum};
  }
  const StackSpec& spec = p.stack.spec;
  NormedSum result =
      normalised_sum(x, branch, {spec.norm, spec.norm_eps, norm.weight_C, norm.bias_C}, site, rows, p.pass.execution);
  result.y_TC = p.pass.with_addition(norm, result.y_TC, rows);
  return result;
}

struct QueriesKeysValues {
  at::Tensor q, k, v;
};

/// Maps of the rows h_TC, queries of the leaving ones alone.
QueriesKeysValues project(const Attention& site, const at::Tensor& h_TC, const StackPass& p,
                          const LeavingRows& leaving) {
  const Pass& pass = p.pass;
  const auto leave = [&](const at::Tensor& t) {
    return leaving.numbers.defined() ? t.index_select(0, leaving.numbers) : t;
  };
  const bool whole = !site.qkv.module.empty();
  if (whole || (site.qkv.weight_OC.defined() && !leaving.numbers.defined())) {
    // One split, not three slices: its backward is one concatenation where each slice would fill and add a whole
    // tensor.
    const auto parts = at::split_with_sizes(pass.linear(site.qkv, h_TC, p.rows),
                                            {site.heads * site.head_dim, site.key_width(), site.key_width()}, 1);
    if (whole) return {leave(parts[0]), parts[1], parts[2]};
    return {pass.with_addition(site.query, parts[0], h_TC, p.rows),
            pass.with_addition(site.key, parts[1], h_TC, p.rows),
            pass.with_addition(site.value, parts[2], h_TC, p.rows)};
  }
  const at::Tensor q = pass.linear(site.query, leave(h_TC), leaving.rows);
  return {q, pass.linear(site.key, h_TC, p.rows), pass.linear(site.value, h_TC, p.rows)};
}

/// The branch of one attention.     h_TC -> [leaving rows, C]
at::Tensor attend(const Attention& site, const at::Tensor& h_TC, const StackPass& p, const LeavingRows& leaving,
                  const std::string& name) {
  const Pass& pass = p.pass;
  const auto heads = [&](const at::Tensor& t, int64_t count) { return t.unflatten(1, {count, site.head_dim}); };
  at::Tensor q, k, v;
  Batch keys = p.rows;
  if (site.spec.source == KeySource::self) {
    const QueriesKeysValues maps = project(site, h_TC, p, leaving);
    q = heads(maps.q, site.heads);
    k = heads(maps.k, site.kv_heads);
    v = heads(maps.v, site.kv_heads);
    if (site.spec.rotary) {
      q = rotate(q, leaving.rows->position_T(), *site.spec.rotary);
      k = rotate(k, p.rows->position_T(), *site.spec.rotary);
    }
    if (p.cache != nullptr) {
      const KeyValueCache::Entry& seen = p.cache->append(site, k, v, p.rows);
      k = seen.k_TGD;
      v = seen.v_TGD;
      keys = seen.rows;
    }
  } else {
    const at::Tensor rows = leaving.numbers.defined() ? h_TC.index_select(0, leaving.numbers) : h_TC;
    q = heads(pass.linear(site.query, rows, leaving.rows), site.heads);
    KeyValueCache::Entry seen = p.cache != nullptr ? p.cache->of(site) : KeyValueCache::Entry{};
    if (seen.rows == nullptr) {
      const Memory& memory = *p.memory;
      seen = {heads(pass.linear(site.key, memory.x_TC, memory.rows), site.kv_heads),
              heads(pass.linear(site.value, memory.x_TC, memory.rows), site.kv_heads), memory.rows};
      if (p.cache != nullptr) p.cache->of(site) = seen;
    }
    k = seen.k_TGD;
    v = seen.v_TGD;
    keys = seen.rows;
  }
  const AttentionArgs args{.queries = leaving.rows,
                           .keys = keys,
                           .scale = site.spec.scale,
                           .causal = site.spec.causal,
                           .window = site.spec.window,
                           .prefix = pass.sockets.prefix(site),
                           .state = pass.sockets.state(site),
                           .dropout = pass.site(name, pass.rates.attention),
                           .implementation = pass.execution.attention,
                           .bias = site.spec.relative_bias ? p.stack.relative_bias : RelativeBias{}};
  return pass.linear(site.output, attention(q, k, v, args).flatten(1), leaving.rows);
}

/// The branch of the feed-forward block.
at::Tensor feed(const FeedForward& block, const at::Tensor& f_TC, const StackPass& p, const Batch& rows,
                const std::string& name) {
  const Pass& pass = p.pass;
  const Activation activation = p.stack.spec.activation;
  at::Tensor hidden = pass.linear(block.up, f_TC, rows);
  if (block.gate.weight_OC.defined()) {
    hidden = activate(pass.linear(block.gate, f_TC, rows), activation) * hidden;
  } else {
    hidden = activate(hidden, activation);
  }
  hidden = dropout(hidden, pass.site(name + ".activation", pass.rates.activation), rows, pass.execution);
  return pass.linear(block.down, hidden, rows);
}

}  // namespace

at::Tensor Pass::linear(const Linear& map, const at::Tensor& x_TC, const Batch& rows) const {
  return with_addition(map, at::linear(x_TC, map.weight_OC, map.bias_O), x_TC, rows);
}

at::Tensor Pass::with_addition(const Linear& map, const at::Tensor& y_TO, const at::Tensor& x_TC,
                               const Batch& rows) const {
  if (map.module.empty()) return y_TO;
  const LinearAddition addition = sockets.linear(map);
  if (const auto* low_rank = std::get_if<LowRankAddition>(&addition))
    return sum_wide(y_TO, low_rank_addition(*low_rank->bank, x_TC, low_rank->dropout, rows, execution));
  if (const auto* bias = std::get_if<BiasAddition>(&addition)) return with_bias(y_TO, *bias, rows);
  return y_TO;
}

at::Tensor Pass::with_addition(const Norm& norm, const at::Tensor& y_TC, const Batch& rows) const {
  const NormAddition addition = sockets.norm(norm);
  const auto* bias = std::get_if<BiasAddition>(&addition);
  return bias != nullptr ? with_bias(y_TC, *bias, rows) : y_TC;
}

at::Tensor activate(const at::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::none:
      return x;
    case Activation::gelu:
      return at::gelu(x, "none");
    case Activation::gelu_tanh:
      return at::gelu(x, "tanh");
    case Activation::relu:
      return at::relu(x);
    case Activation::silu:
      return at::silu(x);
    case Activation::tanh:
      return at::tanh(x);
  }
  return x;
}

at::Tensor normed(const Norm& norm, const at::Tensor& x_TC, const StackPass& pass, const Batch& rows) {
  return normed_sum(norm, x_TC, {}, {}, pass, rows).y_TC;
}

at::Tensor block_forward(const Layer& layer, const at::Tensor& x_TC, const StackPass& p, const LeavingRows& leaving) {
  const Pass& pass = p.pass;
  const bool pre = p.stack.spec.norm_place == NormPlace::pre;
  // x: the residual stream. h: what the next branch reads. The sum of a branch is formed together with the norm behind
  // it.
  at::Tensor x = x_TC, h = pre ? normed(layer.attentions.front().norm, x, p, p.rows) : x;
  LeavingRows rows = leaving;
  std::string name;
  for (std::size_t i = 0; i < layer.attentions.size(); ++i) {
    const Attention& site = layer.attentions[i];
    name = p.name + "layer." + std::to_string(site.layer);
    const std::string attention_name = name + (site.spec.source == KeySource::self ? ".attention" : ".cross_attention");
    const at::Tensor branch = attend(site, h, p, rows, attention_name);
    if (rows.numbers.defined()) x = x.index_select(0, rows.numbers);
    rows.numbers = at::Tensor();  // gone already for what follows
    const Norm& next = !pre                              ? site.norm
                       : i + 1 < layer.attentions.size() ? layer.attentions[i + 1].norm
                                                         : layer.feed_forward.norm;
    const NormedSum sum = normed_sum(
        next, x, branch, pass.site(attention_name + "_output", pass.rates.attention_output), p, leaving.rows);
    h = sum.y_TC;
    x = pre ? sum.sum_TC : h;
  }
  const DropoutSite site = pass.site(name + ".feed_forward", pass.rates.feed_forward);
  const at::Tensor branch = feed(layer.feed_forward, h, p, leaving.rows, name);
  return pre ? x + dropout(branch, site, leaving.rows, pass.execution)
             : normed_sum(layer.feed_forward.norm, x, branch, site, p, leaving.rows).y_TC;
}

}  // namespace peft
