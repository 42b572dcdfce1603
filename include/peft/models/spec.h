#pragma once
/// A transformer described by data. An architecture file (src/models/bert.cpp, ...) turns a folder's config.json into a ModelSpec; the
/// network itself (transformer.h) exists once. Weights are stored as torch.nn.Linear stores them, [out, in].

#include <cstdint>
#include <string>
#include <vector>

#include "peft/base/json.h"
#include "peft/base/registry.h"
#include "peft/kernels/norm_kind.h"

namespace peft {

enum class NormPlace { post, pre };  ///< x = norm(x + f(x)), or x = x + f(norm(x))
enum class Activation { none, gelu, gelu_tanh, relu, silu, tanh };
enum class Positions { none, learned };  ///< a table of learned vectors added to the embedding

/// Dropout probabilities of the checkpoint's config.json.
struct DropoutRates {
  double hidden = 0.0;      ///< after the embedding's norm, and on each branch before the residual addition
  double attention = 0.0;   ///< on attention probabilities
  double classifier = 0.0;  ///< before each trained layer of the head
};

/// Module paths as Hugging Face (and so peft) spells them; `{}` stands for the layer's number. Empty: this architecture has none.
struct LayerSlots {
  std::string attention;  ///< the module that owns a prefix or a state
  std::string query, key, value, attention_output, attention_norm;
  std::string up, gate, down, feed_forward_norm;
};

/// One stack of equal layers.
struct StackSpec {
  std::string name = "encoder";
  int64_t layers = 0, width = 0, heads = 0, kv_heads = 0, head_dim = 0, feed_forward = 0;
  NormKind norm = NormKind::layer_norm;
  NormPlace norm_place = NormPlace::post;
  double norm_eps = 1e-12;
  Activation activation = Activation::gelu;
  bool causal = false;
  double attention_scale = 1.0;
  LayerSlots slots;
};

struct EmbeddingSpec {
  std::string word, position, token_type, norm;  ///< module paths; empty: none
  int64_t vocabulary = 0, positions = 0, token_types = 0;
  Positions scheme = Positions::learned;
  int64_t position_offset = 0;  ///< the first token's row of the position table
  int64_t padding = -1;         ///< row that never gets a gradient (full fine-tuning); -1: none
  int64_t usable_positions() const { return positions - position_offset; }
};

/// A layer on the pooled row of a classifier: dropout, linear, activation.
struct HeadLayer {
  std::string module;
  bool to_labels = false;  ///< its outputs are the task's; else the model's width
  bool trained = false;    ///< new with a task, so trained and stored with every adapter (peft's modules_to_save)
  double dropout = 0.0;
  Activation activation = Activation::none;
};

struct ModelSpec {
  std::string model_type, architecture;    ///< "bert", "BertForSequenceClassification"
  std::string classifier_architecture;     ///< the class with a classification head
  std::string base_prefix;                 ///< "bert."
  std::vector<std::string> head_prefixes;  ///< tensors that never take the base prefix
  std::vector<std::string> ignorable;      ///< regular expressions of tensor names that may be present and are not used
  EmbeddingSpec embedding;
  StackSpec stack;
  std::vector<HeadLayer> head;
  DropoutRates dropout;
  int64_t labels = 2;  ///< of config.json; the head tensor's rows decide
  std::vector<std::string> default_lora_targets;
  double initializer_range = 0.02;
  std::string dtype;  ///< of config.json (dtype or torch_dtype); empty: that of the tensors
};

/// Reads a config.json into a spec. Throws DataError naming `origin` and the key.
struct Architecture {
  ModelSpec (*parse)(const Json& config, const std::string& origin);
};

Registry<Architecture>& architectures();  ///< by model_type

/// A key of config.json with its default; a value of another type is a DataError naming the key.
template <class T>
T config_value(const Json& config, const std::string& key, T fallback, const std::string& origin);
int64_t config_labels(const Json& config, int64_t fallback);  ///< id2label's length, else num_labels, else the fallback
Activation parse_activation(const std::string& name, const std::string& origin);

}  // namespace peft
