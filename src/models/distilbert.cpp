/// DistilBERT [Sanh et al. 2019, arXiv:1910.01108]: BERT without token types and pooler, with dropout on one branch of a layer only.

#include <cmath>

#include "peft/base/summaries.h"
#include "peft/models/spec.h"

namespace peft {
namespace {

ModelSpec parse_distilbert(const Json& config, const std::string& origin) {
  ModelSpec spec;
  spec.base_prefix = "distilbert.";
  spec.head_prefixes = {"pre_classifier.", "classifier.", "qa_outputs."};
  spec.ignorable = {R"((distilbert\.)?embeddings\.position_ids)", R"(vocab_(transform|layer_norm|projector)\..*)"};
  spec.default_lora_targets = {"q_lin", "v_lin"};

  // transformers' general names mean the same.
  const auto size = [&](const char* key, const char* general, int64_t fallback) {
    return config_value<int64_t>(config, key, config_value<int64_t>(config, general, fallback, origin), origin);
  };
  StackSpec stack;
  stack.width = size("dim", "hidden_size", 768);
  stack.heads = size("n_heads", "num_attention_heads", 12);
  stack.feed_forward = config_value<int64_t>(config, "hidden_dim", 3072, origin);
  stack.activation = config_activation(config, "activation", "gelu", origin);
  share_width(stack, "dim", "n_heads", origin);
  stack.layers = numbered_layers(
      {.attentions = {{.module = "distilbert.transformer.layer.{}.attention",
                       .query = "distilbert.transformer.layer.{}.attention.q_lin",
                       .key = "distilbert.transformer.layer.{}.attention.k_lin",
                       .value = "distilbert.transformer.layer.{}.attention.v_lin",
                       .output = "distilbert.transformer.layer.{}.attention.out_lin",
                       .norm = "distilbert.transformer.layer.{}.sa_layer_norm",
                       .scale = 1.0 / std::sqrt(static_cast<double>(stack.head_dim))}},
       .feed_forward = {.up = "distilbert.transformer.layer.{}.ffn.lin1",
                        .down = "distilbert.transformer.layer.{}.ffn.lin2",
                        .norm = "distilbert.transformer.layer.{}.output_layer_norm"}},
      config_layers(config,
                    config.contains("n_layers") && !config["n_layers"].is_null() ? "n_layers" : "num_hidden_layers", 6,
                    origin));

  stack.embedding = {.word = "distilbert.embeddings.word_embeddings",
                     .position = "distilbert.embeddings.position_embeddings",
                     .norm = "distilbert.embeddings.LayerNorm",
                     .vocabulary = config_value<int64_t>(config, "vocab_size", 30522, origin),
                     .positions = config_value<int64_t>(config, "max_position_embeddings", 512, origin),
                     .padding = config_value<int64_t>(config, "pad_token_id", 0, origin)};
  spec.stacks = {stack};

  const double hidden = config_probability(config, "dropout", 0.1, origin);
  spec.dropout = {.embedding = hidden,
                  .attention = config_probability(config, "attention_dropout", 0.1, origin),
                  .feed_forward = hidden};
  spec.heads[HeadKind::sequence] = {"DistilBertForSequenceClassification",
                                    {{.module = "pre_classifier", .trained = true, .activation = Activation::relu},
                                     {.module = "classifier",
                                      .to_labels = true,
                                      .trained = true,
                                      .dropout = config_probability(config, "seq_classif_dropout", 0.2, origin)}}};
  spec.heads[HeadKind::token] = {"DistilBertForTokenClassification",
                                 {{.module = "classifier", .to_labels = true, .trained = true, .dropout = hidden}}};
  spec.heads[HeadKind::span] = {"DistilBertForQuestionAnswering",
                                {{.module = "qa_outputs",
                                  .to_labels = true,
                                  .trained = true,
                                  .dropout = config_probability(config, "qa_dropout", 0.1, origin)}}};
  spec.labels = config_labels(config, 2);
  return spec;
}

const bool registered = architectures().add("distilbert", {parse_distilbert});

[[maybe_unused]] const bool described =
    summaries("architecture").add("distilbert", {"bert in half the layers, without token types", "1910.01108"});

}  // namespace
}  // namespace peft
