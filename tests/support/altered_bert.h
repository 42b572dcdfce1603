#pragma once
/// BERT's tables with other choices.

#include "peft/models/spec.h"

namespace peft {

/// BERT with what BERT does not have: "causal" (then it pools the last token), "pre_norm", "kv_heads" of config.json; "no_biases"
/// of its maps.
inline ModelSpec parse_altered_bert(const Json& config, const std::string& origin) {
  ModelSpec spec = architectures().at("bert").parse(config, origin);
  StackSpec& stack = spec.stacks.front();
  if (config.value("causal", false)) {
    for (LayerSpec& layer : stack.layers) layer.attentions.front().causal = true;
    spec.pool = Pool::last;
  }
  if (config.value("pre_norm", false)) stack.norm_place = NormPlace::pre;
  stack.kv_heads = config.value("kv_heads", stack.heads);
  if (config.value("no_biases", false))
    stack.query_key_value_bias = stack.output_bias = stack.feed_forward_bias = false;
  return spec;
}
inline const bool altered_bert_registered = architectures().add("altered-bert", {parse_altered_bert});

}  // namespace peft
