#pragma once
/// Random BERT folders and inputs for them.

#include <ATen/ATen.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "peft/base/files.h"
#include "peft/base/hash.h"
#include "peft/base/json.h"
#include "peft/models/transformer.h"
#include "peft/tensor/safetensors.h"
#include "tests/support/tensors.h"

namespace peft {

struct TinyBert {
  int64_t width = 8, heads = 2, layers = 2, feed_forward = 16, vocabulary = 23, positions = 40, types = 2;
  int64_t labels = 2;  ///< 0: a bare BertModel without a classifier
  double dropout = 0.0;
  uint64_t seed = 1;

  Json config() const {
    Json json{{"model_type", "bert"},
              {"hidden_size", width},
              {"num_attention_heads", heads},
              {"num_hidden_layers", layers},
              {"intermediate_size", feed_forward},
              {"vocab_size", vocabulary},
              {"max_position_embeddings", positions},
              {"type_vocab_size", types},
              {"hidden_dropout_prob", dropout},
              {"attention_probs_dropout_prob", dropout},
              {"layer_norm_eps", 1e-12}};
    json["architectures"] = Json::array({labels > 0 ? "BertForSequenceClassification" : "BertModel"});
    return json;
  }

  /// Under the names of BertForSequenceClassification.
  std::map<std::string, at::Tensor> tensors() const {
    std::map<std::string, at::Tensor> all;
    const auto add = [&](const std::string& name, at::IntArrayRef shape, double scale, double mean = 0.0) {
      all[name] = (random_tensor(hash64(name, seed), shape, scale) + mean).to(at::kFloat);
    };
    const auto linear = [&](const std::string& module, int64_t out, int64_t in) {
      add(module + ".weight", {out, in}, 1.0 / std::sqrt(static_cast<double>(in)));
      add(module + ".bias", {out}, 0.1);
    };
    const auto norm = [&](const std::string& module) {
      add(module + ".weight", {width}, 0.1, 1.0);
      add(module + ".bias", {width}, 0.1);
    };
    add("bert.embeddings.word_embeddings.weight", {vocabulary, width}, 0.5);
    add("bert.embeddings.position_embeddings.weight", {positions, width}, 0.3);
    add("bert.embeddings.token_type_embeddings.weight", {types, width}, 0.3);
    norm("bert.embeddings.LayerNorm");
    for (int64_t i = 0; i < layers; ++i) {
      const std::string layer = "bert.encoder.layer." + std::to_string(i) + ".";
      for (const char* map :
           {"attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"}) {
        linear(layer + map, width, width);
      }
      norm(layer + "attention.output.LayerNorm");
      linear(layer + "intermediate.dense", feed_forward, width);
      linear(layer + "output.dense", width, feed_forward);
      norm(layer + "output.LayerNorm");
    }
    linear("bert.pooler.dense", width, width);
    if (labels > 0) linear("classifier", labels, width);
    return all;
  }

  /// config.json and model.safetensors.
  std::filesystem::path write(const std::filesystem::path& folder) const { return write(folder, config(), tensors()); }
  static std::filesystem::path write(const std::filesystem::path& folder, const Json& config,
                                     const std::map<std::string, at::Tensor>& tensors) {
    write_atomic(folder / "config.json", to_pretty_string(config));
    write_safetensors(folder / "model.safetensors", tensors);
    return folder;
  }
};

/// Token ids and types of one text.
struct Text {
  std::vector<int64_t> ids, types;
};

/// Ids 1.. (0 is BERT's padding), type 1 in the second half.
inline Text random_text(uint64_t seed, int64_t length, int64_t vocabulary = 23) {
  Text text;
  const RngStream stream(seed, "text");
  for (int64_t i = 0; i < length; ++i) {
    text.ids.push_back(1 + static_cast<int64_t>(stream.below(i, vocabulary - 1)));
    text.types.push_back(2 * i >= length ? 1 : 0);
  }
  return text;
}

/// Text b of adapter `adapter[b]` (empty: 0); ordinals count each adapter's texts.
inline ModelInput make_input(const std::vector<Text>& texts, const std::vector<int64_t>& adapter = {},
                             int64_t adapters = 1) {
  std::vector<PackedBatch::Sequence> sequences;
  std::vector<int64_t> ids, types, ordinals(adapters, 0);
  for (std::size_t b = 0; b < texts.size(); ++b) {
    const int64_t k = adapter.empty() ? 0 : adapter[b];
    sequences.push_back({static_cast<int64_t>(texts[b].ids.size()), k, ordinals[k]++});
    ids.insert(ids.end(), texts[b].ids.begin(), texts[b].ids.end());
    types.insert(types.end(), texts[b].types.begin(), texts[b].types.end());
  }
  const auto tensor = [](const std::vector<int64_t>& v) { return at::tensor(at::ArrayRef<int64_t>(v), at::kLong); };
  return {{tensor(ids), tensor(types), std::make_shared<const PackedBatch>(sequences, adapters)}};
}

/// Logits of the checkpoint's own network and head.
inline at::Tensor bare_logits(const Transformer& model, const std::vector<Text>& texts) {
  Sockets none;
  return model.classify(make_input(texts), none, {});
}

}  // namespace peft
