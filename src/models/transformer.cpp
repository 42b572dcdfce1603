#include "peft/models/transformer.h"

#include <ATen/ATen.h>

#include "peft/base/error.h"
#include "peft/kernels/grouped_matmul.h"
#include "peft/kernels/norm.h"

namespace peft {
namespace {

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

/// What a method adds is float32 beside a bfloat16 backbone: summed wide, rounded once, as peft does.
at::Tensor sum_wide(const at::Tensor& y, const at::Tensor& addition) {
  return addition.scalar_type() == y.scalar_type() ? y + addition : (y + addition).to(y.scalar_type());
}

}  // namespace

struct Transformer::Pass {
  Sockets& sockets;
  const DropoutContext& dropout;
  Batch rows;
  int64_t pooled_offset;  ///< row of each sequence that the classifier reads
  const StackSpec& stack;
  bool own_kernels;

  at::Tensor linear(const Linear& map, const at::Tensor& x, const Batch& x_rows) const {
    return with_addition(map, at::linear(x, map.weight_OC, map.bias_O), x, x_rows);
  }
  at::Tensor with_addition(const Linear& map, const at::Tensor& y, const at::Tensor& x, const Batch& x_rows) const {
    const at::Tensor addition = sockets.linear(map, x, x_rows);
    return addition.defined() ? sum_wide(y, addition) : y;
  }
  /// Of x, or of x plus what dropout leaves of a branch.
  NormedSum normed(const Norm& norm, const at::Tensor& x, const at::Tensor& branch, const DropoutSite& its_site,
                   const Batch& x_rows) const {
    NormedSum result = normalised_sum(x, branch, {stack.norm, stack.norm_eps, norm.weight_C, norm.bias_C}, its_site,
                                      x_rows, own_kernels);
    const at::Tensor addition = sockets.norm(norm, x_rows);
    if (addition.defined()) result.y_TC = sum_wide(result.y_TC, addition);
    return result;
  }
  at::Tensor normed(const Norm& norm, const at::Tensor& x, const Batch& x_rows) const {
    return normed(norm, x, {}, {}, x_rows).y_TC;
  }
  DropoutSite site(std::string name, double p) const { return {&dropout, std::move(name), {p}}; }
};

at::Tensor Transformer::run_layer(std::size_t index, const at::Tensor& x_TC, const Pass& pass, bool last) const {
  const Layer& layer = layers_[index];
  const StackSpec& stack = spec_.stack;
  const bool pre = stack.norm_place == NormPlace::pre;
  const std::string name = "layer." + std::to_string(index);
  const Batch out_rows = last ? pass.rows->picked(pass.pooled_offset) : pass.rows;
  const at::Tensor picked = last ? pass.rows->picked_rows(pass.pooled_offset) : at::Tensor();
  const auto pick = [&](const at::Tensor& t) { return last ? t.index_select(0, picked) : t; };

  const at::Tensor h = pre ? pass.normed(layer.attention_norm, x_TC, pass.rows) : x_TC;
  const int64_t queries = stack.heads * stack.head_dim, keys = stack.kv_heads * stack.head_dim;
  at::Tensor q, k, v;
  if (layer.qkv.weight_OC.defined() && !last) {
    // One split, not three slices: its backward is one concatenation where each slice would fill and add a whole [T,
    // 3C].
    const auto qkv =
        at::split_with_sizes(at::linear(h, layer.qkv.weight_OC, layer.qkv.bias_O), {queries, keys, keys}, 1);
    q = pass.with_addition(layer.query, qkv[0], h, pass.rows);
    k = pass.with_addition(layer.key, qkv[1], h, pass.rows);
    v = pass.with_addition(layer.value, qkv[2], h, pass.rows);
  } else {
    q = pass.linear(layer.query, pick(h), out_rows);
    k = pass.linear(layer.key, h, pass.rows);
    v = pass.linear(layer.value, h, pass.rows);
  }
  const AttentionArgs args{
      .queries = out_rows,
      .keys = pass.rows,
      .scale = stack.attention_scale,
      .causal = stack.causal && !last,  // the picked row of a causal classifier is the last one: it sees all keys
      .prefix = pass.sockets.prefix(static_cast<int64_t>(index)),
      .state = pass.sockets.state(static_cast<int64_t>(index)),
      .dropout = pass.site(name + ".attention", spec_.dropout.attention),
      .implementation = attention_};
  const auto heads = [&](const at::Tensor& t, int64_t count) { return t.unflatten(1, {count, stack.head_dim}); };
  const at::Tensor attended =
      attention(heads(q, stack.heads), heads(k, stack.kv_heads), heads(v, stack.kv_heads), args).flatten(1);
  const at::Tensor branch = pass.linear(layer.attention_output, attended, out_rows);
  const NormedSum sum = pass.normed(pre ? layer.feed_forward_norm : layer.attention_norm, pick(x_TC), branch,
                                    pass.site(name + ".attention_output", spec_.dropout.hidden), out_rows);
  const at::Tensor &f = sum.y_TC, &x = pre ? sum.sum_TC : f;

  at::Tensor hidden = pass.linear(layer.up, f, out_rows);
  if (layer.gate.weight_OC.defined()) {
    hidden = activate(pass.linear(layer.gate, f, out_rows), stack.activation) * hidden;
  } else {
    hidden = activate(hidden, stack.activation);
  }
  const at::Tensor out = pass.linear(layer.down, hidden, out_rows);
  const DropoutSite site = pass.site(name + ".feed_forward", spec_.dropout.hidden);
  return pre ? x + dropout(out, site, out_rows, own_kernels_)
             : pass.normed(layer.feed_forward_norm, x, out, site, out_rows).y_TC;
}

at::Tensor Transformer::pooled(const ModelInput& input, Sockets& sockets, const DropoutContext& context) const {
  const Embedded embedded = sockets.embed(input.ids_T, input.rows);
  const int64_t prompt_rows = embedded.prompt_rows();
  const Pass pass{sockets,
                  context,
                  prompt_rows > 0 ? input.rows->lengthened(prompt_rows) : input.rows,
                  sockets.pooling() == PooledRow::text ? prompt_rows : 0,
                  spec_.stack,
                  own_kernels_};
  EmbeddingTables tables{.word_VC = word_,
                         .word_padding = spec_.embedding.padding,
                         .position_NC = position_,
                         .type_UC = token_type_,
                         .position_offset = spec_.embedding.position_offset + sockets.position_shift(),
                         .norm = std::nullopt};
  const Norm& norm = embedding_norm_;
  const bool normed = norm.weight_C.defined();
  if (normed) tables.norm = {spec_.stack.norm, spec_.stack.norm_eps, norm.weight_C, norm.bias_C};
  at::Tensor x = embed_rows(tables, embedded, input.ids_T, input.types_T, input.rows, pass.rows, own_kernels_);
  if (const at::Tensor addition = normed ? sockets.norm(norm, pass.rows) : at::Tensor(); addition.defined())
    x = sum_wide(x, addition);
  x = dropout(x, pass.site("embedding", spec_.dropout.hidden), pass.rows, own_kernels_);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    x = sockets.layer_input(static_cast<int64_t>(i), x, pass.rows);
    x = run_layer(i, x, pass, i + 1 == layers_.size());
  }
  return x;
}

at::Tensor Transformer::head_logits(const at::Tensor& pooled_BC, const Batch& rows, Sockets& sockets,
                                    const DropoutContext& context) const {
  const Pass pass{sockets, context, rows, 0, spec_.stack, own_kernels_};
  at::Tensor x = pooled_BC;
  const std::vector<HeadLayer>* own = sockets.head();
  for (const HeadLayer& layer : own != nullptr ? *own : spec_.head) {
    x = dropout(x, pass.site("head." + layer.module, layer.dropout), rows, own_kernels_);
    if (const TrainedLinear* trained = sockets.trained_module(layer.module)) {
      x = grouped_linear(x.to(trained->weight_KOC.scalar_type()), trained->weight_KOC, trained->bias_KO,
                         rows->group_rows());
    } else if (const Linear* map = head_linear(layer.module)) {
      x = pass.linear(*map, x.to(map->weight_OC.scalar_type()), rows);
    } else {
      throw_error<DataError>("{}: tensor {}.weight is missing and no adapter brings it", folder_.string(),
                             layer.module);
    }
    x = activate(x, layer.activation);
  }
  return x.scalar_type() == at::kDouble ? x : x.to(at::kFloat);
}

at::Tensor Transformer::classify(const ModelInput& input, Sockets& sockets, const DropoutContext& context) const {
  const at::Tensor pooled_BC = pooled(input, sockets, context);
  return head_logits(pooled_BC, input.rows->picked(0), sockets, context);
}

const Linear* Transformer::head_linear(const std::string& module) const {
  const auto it = head_.find(module);
  return it == head_.end() ? nullptr : &it->second;
}

}  // namespace peft
