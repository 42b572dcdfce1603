#pragma once
/// The sites of a model of one stack, and what a method adds there.

#include "peft/kernels/grouped_matmul.h"
#include "peft/methods/method.h"

namespace peft {

inline const Layer& layer_of(const Transformer& model, int64_t layer) {
  return model.stacks().front().layers.at(layer);
}
inline const Attention& attention_of(const Transformer& model, int64_t layer) {
  return layer_of(model, layer).attentions.front();
}

/// The addition to a map's output as the network forms it; undefined: none.     x_TC, one row per row of `rows`
inline at::Tensor addition_at(Sockets& method, const Linear& map, const at::Tensor& x_TC, const Batch& rows) {
  const LinearAddition addition = method.linear(map);
  if (const auto* low_rank = std::get_if<LowRankAddition>(&addition))
    return low_rank_addition(*low_rank->bank, x_TC, low_rank->dropout, rows);
  if (const auto* bias = std::get_if<BiasAddition>(&addition)) return grouped_rows(bias->bias_KO, rows->group_rows());
  return {};
}

}  // namespace peft
