/// BERT [Devlin et al. 2018, arXiv:1810.04805] and everything saved in its layout, as sentence-transformers' MiniLM.
/// config.json keys and tensor names: docs/formats.md#bert.

#include <cmath>

#include "peft/base/error.h"
#include "peft/models/spec.h"

namespace peft {
namespace {

double dropout_probability(const Json& config, const std::string& key, double fallback, const std::string& origin) {
  const auto p = config_value(config, key, fallback, origin);
  if (!(p >= 0.0 && p < 1.0))
    throw_error<DataError>("{}: {}: found {}, expected a number in [0, 1)", origin, key, Json(p).dump());
  return p;
}

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
  spec.classifier_architecture = "BertForSequenceClassification";
  spec.base_prefix = "bert.";
  spec.head_prefixes = {"classifier."};
  spec.ignorable = {R"((bert\.)?embeddings\.position_ids)", R"(cls\..*)"};
  spec.default_lora_targets = {"query", "value"};

  StackSpec& stack = spec.stack;
  stack.width = config_value<int64_t>(config, "hidden_size", 768, origin);
  stack.layers = config_value<int64_t>(config, "num_hidden_layers", 12, origin);
  stack.heads = config_value<int64_t>(config, "num_attention_heads", 12, origin);
  stack.feed_forward = config_value<int64_t>(config, "intermediate_size", 3072, origin);
  stack.norm_eps = config_value(config, "layer_norm_eps", 1e-12, origin);
  stack.activation =
      parse_activation(config_value<std::string>(config, "hidden_act", "gelu", origin), origin + ": hidden_act");
  if (stack.layers < 1)
    throw_error<DataError>("{}: num_hidden_layers: found {}, expected at least 1", origin, stack.layers);
  if (stack.width < 1 || stack.heads < 1 || stack.width % stack.heads != 0) {
    throw_error<DataError>("{}: hidden_size {} is no multiple of num_attention_heads {}", origin, stack.width,
                           stack.heads);
  }
  stack.kv_heads = stack.heads;
  stack.head_dim = stack.width / stack.heads;
  stack.attention_scale = 1.0 / std::sqrt(static_cast<double>(stack.head_dim));
  stack.slots = {.attention = "bert.encoder.layer.{}.attention.self",
                 .query = "bert.encoder.layer.{}.attention.self.query",
                 .key = "bert.encoder.layer.{}.attention.self.key",
                 .value = "bert.encoder.layer.{}.attention.self.value",
                 .attention_output = "bert.encoder.layer.{}.attention.output.dense",
                 .attention_norm = "bert.encoder.layer.{}.attention.output.LayerNorm",
                 .up = "bert.encoder.layer.{}.intermediate.dense",
                 .gate = {},
                 .down = "bert.encoder.layer.{}.output.dense",
                 .feed_forward_norm = "bert.encoder.layer.{}.output.LayerNorm"};

  EmbeddingSpec& embedding = spec.embedding;
  embedding.word = "bert.embeddings.word_embeddings";
  embedding.position = "bert.embeddings.position_embeddings";
  embedding.token_type = "bert.embeddings.token_type_embeddings";
  embedding.norm = "bert.embeddings.LayerNorm";
  embedding.vocabulary = config_value<int64_t>(config, "vocab_size", 30522, origin);
  embedding.positions = config_value<int64_t>(config, "max_position_embeddings", 512, origin);
  embedding.padding = 0;
  embedding.token_types = config_value<int64_t>(config, "type_vocab_size", 2, origin);

  spec.dropout.hidden = dropout_probability(config, "hidden_dropout_prob", 0.1, origin);
  spec.dropout.attention = dropout_probability(config, "attention_probs_dropout_prob", 0.1, origin);
  spec.dropout.classifier = dropout_probability(config, "classifier_dropout", spec.dropout.hidden, origin);
  spec.head = {{.module = "bert.pooler.dense", .activation = Activation::tanh},
               {.module = "classifier", .to_labels = true, .trained = true, .dropout = spec.dropout.classifier}};
  spec.labels = config_labels(config, 2);
  return spec;
}

const bool registered = architectures().add("bert", {parse_bert});

}  // namespace
}  // namespace peft
