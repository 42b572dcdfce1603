/// BERT [Devlin et al. 2018, arXiv:1810.04805] and everything saved in its layout, as sentence-transformers' MiniLM.
/// config.json keys and tensor names: docs/formats.md#bert.

#include <cmath>

#include "peft/base/error.h"
#include "peft/base/summaries.h"
#include "peft/models/spec.h"

namespace peft {
namespace {

ModelSpec parse_bert(const Json& config, const std::string& origin) {
  for (const char* key : {"is_decoder", "add_cross_attention"}) {
    if (config_value(config, key, false, origin))
      throw_error<DataError>("{}: {}: true is not supported for model_type bert", origin, key);
  }
  if (const auto kind = config_value<std::string>(config, "position_embedding_type", "absolute", origin);
      kind != "absolute") {
    throw_error<DataError>("{}: position_embedding_type: found \"{}\", expected \"absolute\"", origin, kind);
  }
  ModelSpec spec;
  spec.base_prefix = "bert.";
  spec.head_prefixes = {"classifier.", "qa_outputs."};
  spec.ignorable = {R"((bert\.)?embeddings\.position_ids)", R"(cls\..*)"};
  spec.default_lora_targets = {"query", "value"};

  StackSpec stack;
  stack.width = config_value<int64_t>(config, "hidden_size", 768, origin);
  stack.heads = config_value<int64_t>(config, "num_attention_heads", 12, origin);
  stack.feed_forward = config_value<int64_t>(config, "intermediate_size", 3072, origin);
  stack.norm_eps = config_value(config, "layer_norm_eps", 1e-12, origin);
  stack.activation = config_activation(config, "hidden_act", "gelu", origin);
  share_width(stack, "hidden_size", "num_attention_heads", origin);
  stack.layers = numbered_layers({.attentions = {{.module = "bert.encoder.layer.{}.attention.self",
                                                  .query = "bert.encoder.layer.{}.attention.self.query",
                                                  .key = "bert.encoder.layer.{}.attention.self.key",
                                                  .value = "bert.encoder.layer.{}.attention.self.value",
                                                  .output = "bert.encoder.layer.{}.attention.output.dense",
                                                  .norm = "bert.encoder.layer.{}.attention.output.LayerNorm",
                                                  .scale = 1.0 / std::sqrt(static_cast<double>(stack.head_dim))}},
                                  .feed_forward = {.up = "bert.encoder.layer.{}.intermediate.dense",
                                                   .down = "bert.encoder.layer.{}.output.dense",
                                                   .norm = "bert.encoder.layer.{}.output.LayerNorm"}},
                                 config_layers(config, "num_hidden_layers", 12, origin));

  stack.embedding = {.word = "bert.embeddings.word_embeddings",
                     .position = "bert.embeddings.position_embeddings",
                     .token_type = "bert.embeddings.token_type_embeddings",
                     .norm = "bert.embeddings.LayerNorm",
                     .vocabulary = config_value<int64_t>(config, "vocab_size", 30522, origin),
                     .positions = config_value<int64_t>(config, "max_position_embeddings", 512, origin),
                     .token_types = config_value<int64_t>(config, "type_vocab_size", 2, origin),
                     .padding = config_value<int64_t>(config, "pad_token_id", 0, origin)};
  spec.stacks = {stack};

  const double hidden = config_probability(config, "hidden_dropout_prob", 0.1, origin);
  spec.dropout = {.embedding = hidden,
                  .attention = config_probability(config, "attention_probs_dropout_prob", 0.1, origin),
                  .attention_output = hidden,
                  .feed_forward = hidden};
  const HeadLayer classifier{.module = "classifier",
                             .to_labels = true,
                             .trained = true,
                             .dropout = config_probability(config, "classifier_dropout", hidden, origin)};
  spec.heads[HeadKind::sequence] = {"BertForSequenceClassification",
                                    {{.module = "bert.pooler.dense", .activation = Activation::tanh}, classifier}};
  spec.heads[HeadKind::token] = {"BertForTokenClassification", {classifier}};
  spec.heads[HeadKind::span] = {"BertForQuestionAnswering",
                                {{.module = "qa_outputs", .to_labels = true, .trained = true}}};
  spec.labels = config_labels(config, 2);
  return spec;
}

const bool registered = architectures().add("bert", {parse_bert});

[[maybe_unused]] const bool described =
    summaries("architecture").add("bert", {"encoder with token types and learned positions", "1810.04805"});

}  // namespace
}  // namespace peft
