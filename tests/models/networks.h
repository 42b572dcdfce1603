#pragma once
/// The networks of the tests in this folder, and inputs for them.

#include <ostream>
#include <string>
#include <vector>

#include "tests/support/test_network.h"

namespace peft {

struct NamedNetwork {
  std::string name;
  TestNetwork network;
};

/// How a failure names it.
inline void PrintTo(const NamedNetwork& named, std::ostream* out) { *out << named.name; }

/// Mixtures that published architectures have.
inline std::vector<NamedNetwork> published_networks() {
  return {{"LlamaLike",
           {.stacks = "decoder",
            .heads = 4,
            .norm = "rms",
            .norm_place = "pre",
            .activation = "silu",
            .final_norm = true,
            .embedding_norm = false,
            .gated = true,
            .qkv_bias = false,
            .output_bias = false,
            .feed_forward_bias = false,
            .positions = 0,
            .token_types = 0,
            .rotary_bases = {10000.0},
            .pool = "last",
            .output = "own"}},
          {"QwenLike",
           {.stacks = "decoder",
            .layers = 3,
            .heads = 4,
            .kv_heads = 1,
            .norm = "rms",
            .norm_place = "pre",
            .activation = "silu",
            .final_norm = true,
            .embedding_norm = false,
            .gated = true,
            .output_bias = false,
            .feed_forward_bias = false,
            .positions = 0,
            .token_types = 0,
            .rotary_bases = {1000.0},
            .windows = {0, 3},
            .pool = "last",
            .output = "tied"}},
          {"Gpt2Like",
           {.stacks = "decoder",
            .norm_place = "pre",
            .activation = "gelu_new",
            .final_norm = true,
            .embedding_norm = false,
            .fused = true,
            .input_major = true,
            .token_types = 0,
            .scales = {0.5, 0.25},
            .pool = "last",
            .output = "tied"}},
          {"T5Like",
           {.stacks = "encoder-decoder",
            .norm = "rms",
            .norm_place = "pre",
            .activation = "relu",
            .final_norm = true,
            .embedding_norm = false,
            .qkv_bias = false,
            .output_bias = false,
            .feed_forward_bias = false,
            .positions = 0,
            .token_types = 0,
            .buckets = 8,
            .scales = {1.0},
            .output = "tied",
            .output_scale = 0.35}},
          {"BartLike",
           {.stacks = "encoder-decoder",
            .positions = 42,
            .position_offset = 2,
            .token_types = 0,
            .padding = 1,
            .embedding_scale = 2.8,
            .pool = "last_eos",
            .eos_token = 2,
            .output = "tied",
            .output_offset = true}},
          {"ModernBertLike",
           {.layers = 3,
            .norm_place = "pre",
            .norm_bias = false,
            .final_norm = true,
            .gated = true,
            .qkv_bias = false,
            .output_bias = false,
            .feed_forward_bias = false,
            .fused = true,
            .positions = 0,
            .token_types = 0,
            .rotary_bases = {160000.0, 10000.0, 10000.0},
            .windows = {0, 4, 4},
            .pool = "mean"}},
          {"MpnetLike", {.positions = 42, .position_offset = 2, .token_types = 0, .padding = 1, .buckets = 8}}};
}

/// One branch each.
inline std::vector<NamedNetwork> branches() {
  return {{"BertLike", {}},
          {"OneLayer", {.layers = 1}},
          {"Causal", {.stacks = "decoder", .pool = "last"}},
          {"CausalFirst", {.stacks = "decoder", .output = "tied"}},
          {"RmsNorm", {.norm = "rms"}},
          {"PreNorm", {.norm_place = "pre", .final_norm = true}},
          {"NormWithoutBias", {.norm_bias = false}},
          {"Gated", {.gated = true}},
          {"GatedSilu", {.activation = "silu", .gated = true}},
          {"Silu", {.activation = "silu"}},
          {"GeluNew", {.activation = "gelu_new"}},
          {"Relu", {.activation = "relu"}},
          {"Tanh", {.activation = "tanh"}},
          {"NoBiases", {.qkv_bias = false, .output_bias = false, .feed_forward_bias = false}},
          {"QueryKeyValueBiasesAlone", {.output_bias = false, .feed_forward_bias = false}},
          {"Fused", {.fused = true}},
          {"InputMajor", {.input_major = true}},
          {"FusedInputMajorGrouped", {.heads = 4, .fused = true, .input_major = true}},
          {"Rotary", {.positions = 0, .rotary_bases = {100.0}}},
          {"RotaryByLayer", {.positions = 0, .rotary_bases = {100.0, 7.0}}},
          {"RotaryOfSomeColumns", {.rotary_bases = {100.0}, .rotary_columns = 2}},
          {"Bias", {.positions = 0, .buckets = 8}},
          {"CausalBias", {.stacks = "decoder", .positions = 0, .buckets = 8, .pool = "last"}},
          {"Window", {.windows = {3}}},
          {"CausalWindow", {.stacks = "decoder", .windows = {3, 0}, .pool = "last"}},
          {"GroupedHeads", {.heads = 4}},
          {"OneKeyHead", {.heads = 4, .kv_heads = 1, .head_dim = 6}},
          {"PositionsWithOffset", {.position_offset = 3}},
          {"NoTables", {.embedding_norm = false, .positions = 0, .token_types = 0}},
          {"ScaledWordsAndPadding", {.padding = 4, .embedding_scale = 2.0}},
          {"ScaleByLayer", {.scales = {1.0, 0.2}}},
          {"Last", {.pool = "last"}},
          {"LastEos", {.pool = "last_eos"}},
          {"Mean", {.pool = "mean"}},
          {"TiedOutput", {.output = "tied", .output_scale = 0.5}},
          {"OwnOutputWithBias", {.output = "own", .output_offset = true}},
          {"CrossAttention", {.stacks = "encoder-decoder", .token_types = 0, .output = "own"}},
          {"CrossAttentionOfGroupedHeads",
           {.stacks = "encoder-decoder", .heads = 4, .fused = true, .token_types = 0, .pool = "mean"}},
          {"PositionsOfEveryKind",
           {.stacks = "decoder",
            .layers = 3,
            .heads = 4,
            .norm = "rms",
            .norm_place = "pre",
            .final_norm = true,
            .gated = true,
            .fused = true,
            .buckets = 8,
            .rotary_bases = {50.0, 500.0},
            .scales = {0.3, 0.6},
            .rotary_columns = 2,
            .windows = {4, 0, 2},
            .pool = "last",
            .output = "tied",
            .output_offset = true}}};
}

inline std::vector<NamedNetwork> all_networks() {
  std::vector<NamedNetwork> all = branches();
  for (const NamedNetwork& network : published_networks()) all.push_back(network);
  return all;
}

/// Causal networks, whose tokens may come one by one.
inline std::vector<NamedNetwork> decoders() {
  std::vector<NamedNetwork> found;
  for (const NamedNetwork& named : all_networks()) {
    if (named.network.causal()) found.push_back(named);
  }
  return found;
}

inline std::string network_name(const testing::TestParamInfo<NamedNetwork>& info) { return info.param.name; }

/// Random texts in which an end-of-sequence and a padding token stand where the network has one.
inline std::vector<Text> network_texts(const TestNetwork& net, const std::vector<int64_t>& lengths, uint64_t seed) {
  std::vector<Text> texts;
  for (const int64_t length : lengths) {
    Text text = random_text(seed + texts.size(), length, net.vocabulary);
    if (net.padding >= 0 && length > 2) text.ids[1] = net.padding;
    if (net.pool == "last_eos") text.ids[static_cast<std::size_t>(length / 2)] = net.eos_token;
    texts.push_back(text);
  }
  return texts;
}

/// Four texts of two adapters, and targets of other lengths where there are two stacks.
struct NetworkInput {
  std::vector<Text> sources, targets;
  std::vector<int64_t> adapter{0, 0, 1, 1};

  explicit NetworkInput(const TestNetwork& net)
      : sources(network_texts(net, {5, 1, 9, 3}, 10)), targets(network_texts(net, {3, 7, 1, 6}, 20)) {}
  NetworkInput() = default;

  const std::vector<Text>& texts(const TestNetwork& net) const { return net.two_stacks() ? targets : sources; }
  ModelInput packed(const TestNetwork& net) const {
    ModelInput input = make_input(sources, adapter, 2);
    if (net.two_stacks()) input.target = make_input(targets, adapter, 2).source;
    return input;
  }
};

/// What the methods of two adapters may put into a network.
enum class Extra { nothing, pairs, prompt };

inline constexpr int64_t kVirtualTokens = 2;

/// Random answers, the same for the same network.
inline TestSockets random_sockets(const Transformer& model, Extra extra) {
  TestSockets sockets;
  if (extra == Extra::prompt)
    sockets.prompt_KPC = random_tensor(5, {2, kVirtualTokens, model.spec().first().width}, 0.5);
  if (extra != Extra::pairs) return sockets;
  sockets.first = kVirtualTokens;
  for (const Attention* site : model.attentions()) {
    const std::vector<int64_t> shape{2, kVirtualTokens, site->kv_heads, site->head_dim};
    const uint64_t seed = 100 + 2 * static_cast<uint64_t>(site->number);
    sockets.pairs[site->module()] = {random_tensor(seed, shape), random_tensor(seed + 1, shape)};
  }
  return sockets;
}

inline const char* name_of(Extra extra) {
  return extra == Extra::nothing ? "bare" : extra == Extra::pairs ? "prefix pairs" : "prompt";
}

}  // namespace peft
