/// MPNet [Song et al. 2020, arXiv:2004.09297]: BERT with a relative position bias that all layers share, positions from 2 on, no token types.

#include <cmath>

#include "peft/base/error.h"
#include "peft/base/summaries.h"
#include "peft/models/spec.h"

namespace peft {
namespace {

constexpr int64_t kPadding = 1;  // of word and position tables, whatever config.json says, as in transformers
constexpr int64_t kBuckets = 32;

ModelSpec parse_mpnet(const Json& config, const std::string& origin) {
  // transformers forms 32 buckets, however many rows the table has.
  if (const auto buckets = config_value<int64_t>(config, "relative_attention_num_buckets", kBuckets, origin);
      buckets != kBuckets) {
    throw_error<DataError>("{}: relative_attention_num_buckets: found {}, expected {}", origin, buckets, kBuckets);
  }
  ModelSpec spec;
  spec.base_prefix = "mpnet.";
  spec.head_prefixes = {"classifier.", "qa_outputs."};
  spec.ignorable = {R"((mpnet\.)?embeddings\.position_ids)", R"(lm_head\..*)", R"((mpnet\.)?pooler\..*)"};
  spec.default_lora_targets = {"q", "v"};

  StackSpec stack;
  stack.width = config_value<int64_t>(config, "hidden_size", 768, origin);
  stack.heads = config_value<int64_t>(config, "num_attention_heads", 12, origin);
  stack.feed_forward = config_value<int64_t>(config, "intermediate_size", 3072, origin);
  stack.norm_eps = config_value(config, "layer_norm_eps", 1e-12, origin);
  stack.activation = config_activation(config, "hidden_act", "gelu", origin);
  share_width(stack, "hidden_size", "num_attention_heads", origin);
  stack.relative_bias = {.module = "mpnet.encoder.relative_attention_bias", .buckets = kBuckets};
  stack.layers = numbered_layers({.attentions = {{.module = "mpnet.encoder.layer.{}.attention.attn",
                                                  .query = "mpnet.encoder.layer.{}.attention.attn.q",
                                                  .key = "mpnet.encoder.layer.{}.attention.attn.k",
                                                  .value = "mpnet.encoder.layer.{}.attention.attn.v",
                                                  .output = "mpnet.encoder.layer.{}.attention.attn.o",
                                                  .norm = "mpnet.encoder.layer.{}.attention.LayerNorm",
                                                  .scale = 1.0 / std::sqrt(static_cast<double>(stack.head_dim)),
                                                  .relative_bias = true}},
                                  .feed_forward = {.up = "mpnet.encoder.layer.{}.intermediate.dense",
                                                   .down = "mpnet.encoder.layer.{}.output.dense",
                                                   .norm = "mpnet.encoder.layer.{}.output.LayerNorm"}},
                                 config_layers(config, "num_hidden_layers", 12, origin));

  stack.embedding = {.word = "mpnet.embeddings.word_embeddings",
                     .position = "mpnet.embeddings.position_embeddings",
                     .norm = "mpnet.embeddings.LayerNorm",
                     .vocabulary = config_value<int64_t>(config, "vocab_size", 30527, origin),
                     .positions = config_value<int64_t>(config, "max_position_embeddings", 512, origin),
                     .position_offset = kPadding + 1,
                     .padding = kPadding,
                     .padding_has_no_position = true};
  spec.stacks = {stack};

  const double hidden = config_probability(config, "hidden_dropout_prob", 0.1, origin);
  spec.dropout = {.embedding = hidden,
                  .attention = config_probability(config, "attention_probs_dropout_prob", 0.1, origin),
                  .attention_output = hidden,
                  .feed_forward = hidden};
  spec.heads[HeadKind::sequence] = {
      "MPNetForSequenceClassification",
      {{.module = "classifier.dense", .trained = true, .dropout = hidden, .activation = Activation::tanh},
       {.module = "classifier.out_proj", .to_labels = true, .trained = true, .dropout = hidden}}};
  spec.heads[HeadKind::token] = {"MPNetForTokenClassification",
                                 {{.module = "classifier", .to_labels = true, .trained = true, .dropout = hidden}}};
  spec.heads[HeadKind::span] = {"MPNetForQuestionAnswering",
                                {{.module = "qa_outputs", .to_labels = true, .trained = true}}};
  spec.labels = config_labels(config, 2);
  return spec;
}

const bool registered = architectures().add("mpnet", {parse_mpnet});

[[maybe_unused]] const bool described =
    summaries("architecture").add("mpnet", {"encoder with relative position biases", "2004.09297"});

}  // namespace
}  // namespace peft
