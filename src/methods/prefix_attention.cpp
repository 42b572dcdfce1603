/// How much attention a prefix gets: the sign prefix_attention.

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "peft/kernels/rotary.h"
#include "src/methods/prefix_method.h"
#include "src/methods/prefix_text.h"

namespace peft {
namespace {

/// The method's sockets, seen by one who notes the input of every layer.
class WithInputs : public Sockets {
 public:
  explicit WithInputs(Sockets& method) : method_(method) {}
  std::vector<at::Tensor> inputs;
  Batch rows;

  Embedded embed(const at::Tensor& ids_T, const Batch& batch) override { return method_.embed(ids_T, batch); }
  at::Tensor layer_input(const Stack& /*stack*/, int64_t /*layer*/, const at::Tensor& x_TC,
                         const Batch& batch) override {
    inputs.push_back(x_TC);
    rows = batch;
    return x_TC;
  }
  PrefixKV prefix(const Attention& site) override { return method_.prefix(site); }
  int64_t first_position() const override { return method_.first_position(); }

 private:
  Sockets& method_;
};

}  // namespace

/// Attention to values that are one on the prefix and zero on the text gives the share itself, whatever masks and biases take part.
Signs PrefixMethod::measure(int64_t /*k*/, const ModelInput& probe) {
  const at::NoGradGuard no_grad;
  const DropoutContext no_dropout;
  begin_pass(no_dropout);
  WithInputs sockets(*this);
  model_.hidden({probe.source}, sockets, no_dropout, {Selection::Rows::all});
  const Stack& stack = model_.stacks().front();
  std::vector<at::Tensor> shares;
  for (const Attention* site : sites_) {
    const at::Tensor& x_TC = sockets.inputs.at(site->layer);
    const auto heads = [&](const Linear& map, int64_t count) {
      const at::Tensor rows = through_map(model_, *site, map, x_TC, true).unflatten(1, {count, site->head_dim});
      return site->spec.rotary ? rotate(rows, sockets.rows->position_T(), *site->spec.rotary) : rows;
    };
    const at::Tensor k_TGD = heads(site->key, site->kv_heads);
    const PrefixKV pair = prefix(*site);
    const AttentionArgs args{.queries = sockets.rows,
                             .keys = sockets.rows,
                             .scale = site->spec.scale,
                             .causal = site->spec.causal,
                             .window = site->spec.window,
                             .prefix = {pair.k_KPGD, at::ones_like(pair.v_KPGD)},
                             .bias = site->spec.relative_bias ? stack.relative_bias : RelativeBias{}};
    shares.push_back(attention(heads(site->query, site->heads), k_TGD, at::zeros_like(k_TGD), args).mean());
  }
  const double largest = at::stack(shares).max().to(at::kDouble).item<double>();
  return {
      {"prefix_attention",
       {largest, "method.init_std: a smaller one, or a lower train.learning_rate, keeps its keys near the text's"}}};
}

}  // namespace peft
