#pragma once
/// The one transformer: packed rows in, hidden states or classifier logits out. Everything an architecture decides is in its ModelSpec.

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "peft/kernels/attention_implementation.h"
#include "peft/kernels/dropout.h"
#include "peft/models/sockets.h"
#include "peft/models/spec.h"
#include "peft/tensor/safetensors.h"

namespace peft {

struct Norm {
  std::string module;
  at::Tensor weight_C, bias_C;
};

struct Layer {
  Linear query, key, value, attention_output, up, gate, down;
  Linear qkv;  ///< query, key and value as one map: they are views of its rows. Undefined while the backbone trains
  Norm attention_norm, feed_forward_norm;
};

/// Token ids of a packed batch, on the model's device.
struct ModelInput {
  at::Tensor ids_T, types_T;  ///< int64
  Batch rows;
};

/// A frozen pretrained network.
class Transformer {
 public:
  /// Reads config.json and the tensors of a Hugging Face folder. `dtype`: "float32", "bfloat16", "float64", or "auto" = the folder's.
  /// Throws DataError: unknown model_type, missing tensors, wrong shapes; unknown tensors are one warning.
  static Transformer load(const std::filesystem::path& folder, const std::string& dtype, at::Device device = at::kCPU);

  const ModelSpec& spec() const { return spec_; }
  at::Device device() const { return word_.device(); }
  at::ScalarType dtype() const { return word_.scalar_type(); }
  const std::vector<Layer>& layers() const { return layers_; }
  const at::Tensor& word_embeddings() const { return word_; }     ///< [V, C]
  const Norm& embedding_norm() const { return embedding_norm_; }  ///< weight undefined: none
  const std::filesystem::path& folder() const { return folder_; }

  /// Linear maps a method may target: those of all layers, then those of the head that the checkpoint has.
  std::vector<const Linear*> linear_sites() const;
  /// Every tensor of the backbone under its Hugging Face name; shares memory with the network.
  std::map<std::string, at::Tensor> named_tensors() const;
  /// Calls `visit` for every tensor of the backbone and of the checkpoint's head; it may put another tensor in its place.
  void for_tensors(const std::function<void(const std::string& name, at::Tensor& tensor)>& visit);
  /// Hash of config.json and every tensor file of the folder.
  std::string fingerprint() const;
  /// Separate query, key and value maps instead of one, so that each can be trained and replaced.
  void unfuse();
  /// Replaces dropout rates of the checkpoint by one number, everywhere.
  void override_dropout(double p);
  /// Returns what will serve the attention of these layers. Throws ConfigError when the wish cannot be met.
  std::string set_attention(AttentionImplementation wish);
  /// Norms and a method's additions by our own CUDA kernels, where they serve. Throws ConfigError on a CPU.
  void use_own_kernels();
  bool uses_own_kernels() const { return own_kernels_; }

  /// Layer of the head the checkpoint has, or nullptr.
  const Linear* head_linear(const std::string& module) const;

  /// Pooled row of every sequence after the last layer.     -> [B, C]
  /// Only those rows pass through the last layer's queries, feed-forward and norms.
  at::Tensor pooled(const ModelInput& input, Sockets& sockets, const DropoutContext& dropout) const;
  /// Classifier logits in float32 (float64 in tests): the head of the spec on the pooled rows.     -> [B, N]
  at::Tensor classify(const ModelInput& input, Sockets& sockets, const DropoutContext& dropout) const;
  /// The head alone on pooled rows.     pooled_BC, rows: one row per sequence -> [B, N]
  at::Tensor head_logits(const at::Tensor& pooled_BC, const Batch& rows, Sockets& sockets,
                         const DropoutContext& dropout) const;

 private:
  struct Pass;  // what the layers of one pass share

  at::Tensor run_layer(std::size_t index, const at::Tensor& x_TC, const Pass& pass, bool last) const;

  std::filesystem::path folder_;
  ModelSpec spec_;
  AttentionImplementation attention_ = AttentionImplementation::automatic;
  bool own_kernels_ = false;
  at::Tensor word_, position_, token_type_;
  Norm embedding_norm_;
  std::vector<Layer> layers_;
  std::map<std::string, Linear> head_;
};

}  // namespace peft
