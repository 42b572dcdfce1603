#pragma once
/// An architecture of the tests whose config.json chooses every branch of the network, and random folders of it. A program that includes
/// this file knows one model_type more: "test-network".

#include <ATen/ATen.h>

#include <cmath>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tests/support/tiny_bert.h"

namespace peft {

/// Values by layer go round: a list of two names those of even and of odd layers.
struct TestNetwork {
  std::string stacks = "encoder";  ///< or "decoder", or "encoder-decoder"
  int64_t layers = 2, width = 8, heads = 2, kv_heads = 2, head_dim = 4, feed_forward = 12, vocabulary = 23, labels = 3;
  std::string norm = "layer", norm_place = "post", activation = "gelu";
  bool norm_bias = true, final_norm = false, embedding_norm = true, gated = false;
  bool qkv_bias = true, output_bias = true, feed_forward_bias = true;
  bool fused = false, input_major = false;                       ///< one map qkv of an attention; files hold [in, out]
  int64_t positions = 40, position_offset = 0, token_types = 2;  ///< 0: no such table
  int64_t padding = -1;
  double embedding_scale = 1.0;
  int64_t buckets = 0, max_distance = 20;              ///< of a relative bias; 0: none
  std::vector<double> rotary_bases = {}, scales = {};  ///< by layer; empty: none, 1 / sqrt(head_dim)
  int64_t rotary_columns = 0;
  std::vector<int64_t> windows = {};   ///< by layer; empty: none
  std::string pool = "first_of_text";  ///< or "last", "last_eos", "mean"
  int64_t eos_token = 1;
  std::string output = "";     ///< vocabulary logits: "tied" or "own" table; "": none
  bool output_offset = false;  ///< they have a bias
  double output_scale = 1.0;
  std::map<std::string, double> dropout = {};  ///< by place, as DropoutRates names them, and "head"
  uint64_t seed = 1;                           ///< of the tensors

  template <class Self, class Visit>
  static void visit(Self& self, const Visit& field) {
    field("stacks", self.stacks);
    field("layers", self.layers);
    field("width", self.width);
    field("heads", self.heads);
    field("kv_heads", self.kv_heads);
    field("head_dim", self.head_dim);
    field("feed_forward", self.feed_forward);
    field("vocabulary", self.vocabulary);
    field("labels", self.labels);
    field("norm", self.norm);
    field("norm_place", self.norm_place);
    field("activation", self.activation);
    field("norm_bias", self.norm_bias);
    field("final_norm", self.final_norm);
    field("embedding_norm", self.embedding_norm);
    field("gated", self.gated);
    field("qkv_bias", self.qkv_bias);
    field("output_bias", self.output_bias);
    field("feed_forward_bias", self.feed_forward_bias);
    field("fused", self.fused);
    field("input_major", self.input_major);
    field("positions", self.positions);
    field("position_offset", self.position_offset);
    field("token_types", self.token_types);
    field("padding", self.padding);
    field("embedding_scale", self.embedding_scale);
    field("buckets", self.buckets);
    field("max_distance", self.max_distance);
    field("rotary_bases", self.rotary_bases);
    field("scales", self.scales);
    field("rotary_columns", self.rotary_columns);
    field("windows", self.windows);
    field("pool", self.pool);
    field("eos_token", self.eos_token);
    field("output", self.output);
    field("output_offset", self.output_offset);
    field("output_scale", self.output_scale);
    field("dropout", self.dropout);
  }

  bool two_stacks() const { return stacks == "encoder-decoder"; }
  /// Of the stack whose rows the head reads.
  bool causal() const { return stacks != "encoder"; }
  std::vector<std::string> stack_names() const {
    return two_stacks() ? std::vector<std::string>{"encoder", "decoder"} : std::vector<std::string>{stacks};
  }
  /// Attentions of a layer of a stack.
  std::vector<std::string> attention_names(const std::string& stack) const {
    return two_stacks() && stack == "decoder" ? std::vector<std::string>{"self", "cross"}
                                              : std::vector<std::string>{"self"};
  }
  static std::string layer_name(const std::string& stack, int64_t layer) {
    return "net." + stack + ".layers." + std::to_string(layer) + ".";
  }
  template <class T>
  static T of_layer(const std::vector<T>& values, int64_t layer, T none) {
    return values.empty() ? none : values[static_cast<std::size_t>(layer) % values.size()];
  }
  double scale_of(int64_t layer) const {
    return of_layer(scales, layer, 1.0 / std::sqrt(static_cast<double>(head_dim)));
  }

  Json config() const {
    Json json{{"model_type", "test-network"}};
    visit(*this, [&](const char* key, const auto& value) { json[key] = value; });
    return json;
  }

  std::map<std::string, at::Tensor> tensors() const {
    std::map<std::string, at::Tensor> all;
    const auto add = [&](const std::string& name, at::IntArrayRef shape, double scale, double mean = 0.0) {
      all[name] = (random_tensor(hash64(name, seed), shape, scale) + mean).to(at::kFloat);
    };
    const auto map = [&](const std::string& module, int64_t out, int64_t in, bool bias) {
      add(module + ".weight", input_major ? std::vector<int64_t>{in, out} : std::vector<int64_t>{out, in},
          1.0 / std::sqrt(static_cast<double>(in)));
      if (bias) add(module + ".bias", {out}, 0.2);
    };
    const auto gain = [&](const std::string& module) {
      add(module + ".weight", {width}, 0.1, 1.0);
      if (norm == "layer" && norm_bias) add(module + ".bias", {width}, 0.1);
    };
    add("net.words.weight", {vocabulary, width}, 0.5);
    for (const std::string& stack : stack_names()) {
      const std::string name = "net." + stack + ".";
      if (positions > 0) add(name + "positions.weight", {positions, width}, 0.3);
      if (token_types > 0) add(name + "types.weight", {token_types, width}, 0.3);
      if (embedding_norm) gain(name + "embedding_norm");
      if (final_norm) gain(name + "final_norm");
      if (buckets > 0) add(name + "relative_bias.weight", {buckets, heads}, 0.7);
      for (int64_t i = 0; i < layers; ++i) {
        const std::string layer = layer_name(stack, i);
        const int64_t queries = heads * head_dim, keys = kv_heads * head_dim;
        for (const std::string& attention : attention_names(stack)) {
          if (fused && attention == "self") {
            map(layer + "self.qkv", queries + 2 * keys, width, qkv_bias);
          } else {
            map(layer + attention + ".q", queries, width, qkv_bias);
            map(layer + attention + ".k", keys, width, qkv_bias);
            map(layer + attention + ".v", keys, width, qkv_bias);
          }
          map(layer + attention + ".o", width, queries, output_bias);
          gain(layer + attention + "_norm");
        }
        map(layer + "up", feed_forward, width, feed_forward_bias);
        if (gated) map(layer + "gate", feed_forward, width, feed_forward_bias);
        map(layer + "down", width, feed_forward, feed_forward_bias);
        gain(layer + "feed_forward_norm");
      }
    }
    add("classifier.weight", {labels, width}, 0.5);
    add("classifier.bias", {labels}, 0.1);
    if (output == "own") add("lm_head.weight", {vocabulary, width}, 0.5);
    if (output_offset) add("lm_bias", {vocabulary}, 0.1);
    return all;
  }

  std::filesystem::path write(const std::filesystem::path& folder) const {
    return TinyBert::write(folder, config(), tensors());
  }

  StackSpec stack_spec(const std::string& name) const {
    const std::map<std::string, Activation> activations{{"gelu", Activation::gelu},
                                                        {"gelu_new", Activation::gelu_tanh},
                                                        {"relu", Activation::relu},
                                                        {"silu", Activation::silu},
                                                        {"tanh", Activation::tanh}};
    const auto module = [&](bool there, const std::string& path) { return there ? path : std::string(); };
    const std::string prefix = "net." + name + ".";
    StackSpec stack{.name = name,
                    .width = width,
                    .heads = heads,
                    .kv_heads = kv_heads,
                    .head_dim = head_dim,
                    .feed_forward = feed_forward,
                    .norm = norm == "rms" ? NormKind::rms_norm : NormKind::layer_norm,
                    .norm_place = norm_place == "pre" ? NormPlace::pre : NormPlace::post,
                    .norm_eps = 1e-6,
                    .activation = activations.at(activation),
                    .input_major = input_major,
                    .query_key_value_bias = qkv_bias,
                    .output_bias = output_bias,
                    .feed_forward_bias = feed_forward_bias,
                    .norm_bias = norm_bias,
                    .embedding = {.word = "net.words",
                                  .position = module(positions > 0, prefix + "positions"),
                                  .token_type = module(token_types > 0, prefix + "types"),
                                  .norm = module(embedding_norm, prefix + "embedding_norm"),
                                  .vocabulary = vocabulary,
                                  .positions = positions,
                                  .token_types = token_types,
                                  .position_offset = position_offset,
                                  .padding = padding,
                                  .scale = embedding_scale},
                    .relative_bias = std::nullopt,
                    .layers = {},
                    .final_norm = module(final_norm, prefix + "final_norm")};
    if (buckets > 0) {
      stack.relative_bias = {.module = prefix + "relative_bias",
                             .buckets = buckets,
                             .max_distance = max_distance,
                             .bidirectional = name == "encoder"};
    }
    for (int64_t i = 0; i < layers; ++i) {
      const std::string path = layer_name(name, i);
      LayerSpec layer;
      for (const std::string& attention : attention_names(name)) {
        const bool self = attention == "self", whole = fused && self;
        AttentionSpec site{.module = path + attention,
                           .query = module(!whole, path + attention + ".q"),
                           .key = module(!whole, path + attention + ".k"),
                           .value = module(!whole, path + attention + ".v"),
                           .output = path + attention + ".o",
                           .norm = path + attention + "_norm",
                           .qkv = module(whole, path + attention + ".qkv"),
                           .source = self ? KeySource::self : KeySource::encoder,
                           .causal = self && name == "decoder",
                           .scale = scale_of(i),
                           .window = self ? of_layer<int64_t>(windows, i, 0) : 0,
                           .relative_bias = self && buckets > 0,
                           .rotary = std::nullopt};
        if (self && !rotary_bases.empty())
          site.rotary = {.base = of_layer(rotary_bases, i, 0.0), .columns = rotary_columns};
        layer.attentions.push_back(site);
      }
      layer.feed_forward = {.up = path + "up",
                            .gate = module(gated, path + "gate"),
                            .down = path + "down",
                            .norm = path + "feed_forward_norm"};
      stack.layers.push_back(layer);
    }
    return stack;
  }

  ModelSpec spec() const {
    const auto rate = [&](const char* place) {
      const auto it = dropout.find(place);
      return it == dropout.end() ? std::nullopt : std::optional(it->second);
    };
    const std::map<std::string, Pool> pools{{"first", Pool::first},
                                            {"first_of_text", Pool::first_of_text},
                                            {"last", Pool::last},
                                            {"last_eos", Pool::last_eos},
                                            {"mean", Pool::mean}};
    ModelSpec spec;
    spec.base_prefix = "net.";
    spec.head_prefixes = {"classifier.", "lm_"};
    for (const std::string& name : stack_names()) spec.stacks.push_back(stack_spec(name));
    spec.pool = pools.at(pool);
    spec.eos_token = eos_token;
    spec.decoder_start = 0;
    spec.heads[HeadKind::sequence].layers = {
        {.module = "classifier", .to_labels = true, .trained = true, .dropout = rate("head")}};
    if (!output.empty()) {
      spec.output = {
          .module = output == "own" ? "lm_head" : "", .bias = output_offset ? "lm_bias" : "", .scale = output_scale};
    }
    spec.dropout = {.embedding = rate("embedding"),
                    .attention = rate("attention"),
                    .attention_output = rate("attention_output"),
                    .activation = rate("activation"),
                    .feed_forward = rate("feed_forward")};
    spec.labels = labels;
    return spec;
  }

  static ModelSpec parse(const Json& config, const std::string& /*origin*/) {
    TestNetwork network;
    visit(network, [&](const char* key, auto& value) { value = config.at(key).get<std::decay_t<decltype(value)>>(); });
    return network.spec();
  }
};

inline const bool kTestNetworkIsRegistered = architectures().add("test-network", {TestNetwork::parse});

/// Answers from tables by module name; remembers which linear maps ran.
struct TestSockets : Sockets {
  std::map<std::string, PrefixKV> pairs;
  std::map<std::string, LowRankBank> low_rank;
  at::Tensor prompt_KPC;
  int64_t first = 0;
  std::optional<Pool> other_pool;
  std::vector<std::string> asked;

  Embedded embed(const at::Tensor& /*ids_T*/, const Batch& /*rows*/) override {
    Embedded embedded;
    embedded.prompt_SPC = prompt_KPC;
    return embedded;
  }
  PrefixKV prefix(const Attention& site) override {
    const auto it = pairs.find(site.module());
    return it == pairs.end() ? PrefixKV{} : it->second;
  }
  LinearAddition linear(const Linear& site) override {
    asked.push_back(site.module);
    const auto it = low_rank.find(site.module);
    if (it == low_rank.end()) return {};
    return LowRankAddition{&it->second, {}};
  }
  int64_t first_position() const override { return first; }
  Pool pool(Pool own) const override { return other_pool.value_or(own); }
};

}  // namespace peft
