#pragma once
/// A transformer described by data. An architecture file (src/models/bert.cpp, ...) turns a folder's config.json into a ModelSpec; the
/// network itself (transformer.h) exists once.
///
/// Module paths are those of Hugging Face, and so of peft. Empty: the architecture has no such module.

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "peft/base/json.h"
#include "peft/base/registry.h"
#include "peft/kernels/norm_kind.h"
#include "peft/kernels/rotary.h"

namespace peft {

enum class NormPlace { post, pre };  ///< x = norm(x + f(x)), or x = x + f(norm(x))
enum class Activation { none, gelu, gelu_tanh, relu, silu, tanh };
enum class KeySource { self, encoder };  ///< whose rows an attention reads: its own sequence's, or the encoder's

/// What a classifier reads of the last layer. `first` counts virtual tokens, the others see the text alone.
enum class Pool { first, first_of_text, last, last_eos, mean };

/// Dropout probabilities by place. Empty: the architecture has no dropout there, and no override puts one there.
struct DropoutRates {
  std::optional<double> embedding = {};         ///< on the rows that enter a stack
  std::optional<double> attention = {};         ///< on attention probabilities
  std::optional<double> attention_output = {};  ///< on an attention's branch, before the residual addition
  std::optional<double> activation = {};        ///< behind the activation of a feed-forward block
  std::optional<double> feed_forward = {};      ///< on that block's branch
  double largest() const {
    double rate = 0.0;
    for (const auto& p : {embedding, attention, attention_output, activation, feed_forward})
      rate = std::max(rate, p.value_or(0.0));
    return rate;
  }
};

/// The relative position bias that attentions of a stack share.     [Raffel et al. 2020, arXiv:1910.10683]
struct RelativeBiasSpec {
  std::string module = {};
  int64_t buckets = 32, max_distance = 128;
  bool bidirectional = true;
};

struct AttentionSpec {
  std::string module = {};  ///< owns a prefix or a state
  std::string query = {}, key = {}, value = {}, output = {}, norm = {};
  std::string qkv = {};  ///< one map in place of query, key and value (GPT-2's c_attn); they are empty then
  KeySource source = KeySource::self;
  bool causal = false;
  double scale = 1.0;
  /// A query sees so many keys up to its own; 0: all. Keys behind its own are not limited: local layers of an encoder (ModernBERT) need that.
  int64_t window = 0;
  bool relative_bias = false;  ///< adds the stack's
  std::optional<Rotary> rotary = {};
};

struct FeedForwardSpec {
  std::string up = {}, gate = {}, down = {}, norm = {};
};

/// One attention, or two in a decoder that reads an encoder; then the feed-forward block.
struct LayerSpec {
  std::vector<AttentionSpec> attentions = {};
  FeedForwardSpec feed_forward = {};
};

/// Of a model without a table of positions.
inline constexpr int64_t kUnlimitedPositions = int64_t{1} << 40;

/// Rows that enter a stack: word, position and type embeddings, then a norm.
struct EmbeddingSpec {
  std::string word = {}, position = {}, token_type = {}, norm = {};
  int64_t vocabulary = 0, positions = 0, token_types = 0;
  int64_t position_offset = 0;  ///< row of the position table of position 0
  int64_t padding = -1;         ///< row that never gets a gradient (full fine-tuning); -1: none
  /// The padding token written in a text takes the row in front of position 0's and moves no other token, as in transformers' RoBERTa.
  bool padding_has_no_position = false;
  double scale = 1.0;  ///< factor of word embeddings
  /// Positions that a text may take.
  int64_t usable_positions() const { return position.empty() ? kUnlimitedPositions : positions - position_offset; }
};

/// Layers of one geometry.
struct StackSpec {
  std::string name = "encoder";
  int64_t width = 0, heads = 0, kv_heads = 0, head_dim = 0, feed_forward = 0;
  NormKind norm = NormKind::layer_norm;
  NormPlace norm_place = NormPlace::post;
  double norm_eps = 1e-12;
  Activation activation = Activation::gelu;
  bool input_major = false;  ///< files hold weights as [in, out] (GPT-2's Conv1D)
  bool query_key_value_bias = true, output_bias = true, feed_forward_bias = true, norm_bias = true;
  EmbeddingSpec embedding;
  std::optional<RelativeBiasSpec> relative_bias;
  std::vector<LayerSpec> layers;
  std::string final_norm;
  int64_t depth() const { return static_cast<int64_t>(layers.size()); }
  int64_t key_width() const { return kv_heads * head_dim; }  ///< of keys and of values
};

/// What the outputs of a head belong to: the pooled row of a sequence (transformers' ...ForSequenceClassification and
/// ...ForMultipleChoice), each of its tokens (...ForTokenClassification), or each as the first and as the last of an answer
/// (...ForQuestionAnswering).
enum class HeadKind { sequence, token, span };

/// A layer of a head: dropout, linear, activation.
struct HeadLayer {
  std::string module = {};
  bool to_labels = false;  ///< its outputs are the task's; else the model's width
  bool trained = false;    ///< new with a task, so trained and stored with every adapter (peft's modules_to_save)
  std::optional<double> dropout = {};  ///< on its input; empty as in DropoutRates
  Activation activation = Activation::none;
  bool bias = true;
};

struct HeadSpec {
  std::string architecture;  ///< the class of transformers that has it
  std::vector<HeadLayer> layers;
};

/// Logits over the vocabulary.     y = scale x W^T + b
struct OutputSpec {
  std::string module = {};  ///< of W; empty: the first stack's word embeddings
  std::string bias = {};    ///< name of the tensor b; empty: none
  double scale = 1.0;
};

struct ModelSpec {
  std::string model_type, architecture;    ///< "bert", "BertForSequenceClassification"
  std::string base_prefix;                 ///< "bert."
  std::vector<std::string> head_prefixes;  ///< tensors that never take the base prefix
  std::vector<std::string> ignorable;      ///< regular expressions of tensor names that may be present and are not used
  std::vector<StackSpec> stacks;           ///< one; or an encoder and the decoder that reads it
  Pool pool = Pool::first_of_text;
  int64_t eos_token = -1;      ///< of Pool::last_eos
  int64_t decoder_start = -1;  ///< the token that a decoder reads first
  std::map<HeadKind, HeadSpec> heads;
  HeadKind head_kind = HeadKind::sequence;  ///< the one in use
  std::optional<OutputSpec> output;         ///< language models
  DropoutRates dropout;
  int64_t labels = 2;  ///< of config.json; the head tensor's rows decide
  std::vector<std::string> default_lora_targets;
  double initializer_range = 0.02;
  std::string dtype;  ///< of config.json (dtype or torch_dtype); empty: that of the tensors

  const StackSpec& first() const { return stacks.front(); }  ///< reads the text
  const StackSpec& last() const { return stacks.back(); }    ///< the head stands on it
  const EmbeddingSpec& embedding() const { return first().embedding; }
  int64_t width() const { return last().width; }  ///< of what the head reads
  /// Of the head in use; none: the architecture has no such head.
  const HeadSpec& head_spec() const;
  const std::vector<HeadLayer>& head() const { return head_spec().layers; }
};

/// One stack whose every attention is causal.
bool decoder_only(const ModelSpec& spec);

/// Reads a config.json into a spec. Throws DataError naming `origin` and the key.
struct Architecture {
  ModelSpec (*parse)(const Json& config, const std::string& origin);
};

Registry<Architecture>& architectures();  ///< by model_type

/// `count` layers of one description, whose `{}` becomes the layer's number.
std::vector<LayerSpec> numbered_layers(const LayerSpec& layer, int64_t count);

/// A key of config.json with its default; a value of another type is a DataError naming the key.
template <class T>
T config_value(const Json& config, const std::string& key, T fallback, const std::string& origin);
/// The same in [0, 1).
double config_probability(const Json& config, const std::string& key, double fallback, const std::string& origin);
int64_t config_labels(const Json& config, int64_t fallback);  ///< id2label's length, else num_labels, else the fallback
/// The same, one of transformers' names of activations.
Activation config_activation(const Json& config, const std::string& key, const std::string& fallback,
                             const std::string& origin);
/// The same, at least 1.
int64_t config_layers(const Json& config, const std::string& key, int64_t fallback, const std::string& origin);
/// Key/value heads and head width of a stack whose width its heads share. Throws DataError naming the keys of config.json where that
/// does not go.
void share_width(StackSpec& stack, const std::string& width_key, const std::string& heads_key,
                 const std::string& origin);

}  // namespace peft
