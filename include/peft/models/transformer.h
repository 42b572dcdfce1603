#pragma once
/// The one transformer: packed tokens in, hidden states, class logits or vocabulary logits out. Everything an architecture decides is in
/// its ModelSpec.
/// T tokens, B sequences, S selected rows, C model width, N classes, V vocabulary.

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "peft/models/cache.h"
#include "peft/models/front_end.h"
#include "peft/models/sockets.h"
#include "peft/models/spec.h"
#include "peft/tensor/safetensors.h"

namespace peft {

struct ModelInput {
  Tokens source;                      ///< what the first stack reads
  std::optional<Tokens> target = {};  ///< what the decoder of an encoder-decoder reads
};

/// Which rows of the last stack's text a pass returns. The last layer computes only these. Pool::first alone selects a virtual token.
struct Selection {
  enum class Rows { pooled, last, all, chosen };
  Rows rows = Rows::pooled;          ///< pooled: as the ModelSpec and the method say; last: of each sequence
  std::vector<int64_t> chosen = {};  ///< ascending numbers of tokens
};

struct Hidden {
  at::Tensor x_SC;
  Batch rows;
};

/// A frozen pretrained network.
class Transformer {
 public:
  /// Reads config.json and the tensors of a Hugging Face folder. `dtype`: "float32", "bfloat16", "float64", or "auto" = the folder's.
  /// Throws DataError: unknown model_type, missing tensors, wrong shapes; unknown tensors are one warning.
  static Transformer load(const std::filesystem::path& folder, const std::string& dtype, at::Device device = at::kCPU);

  const ModelSpec& spec() const { return spec_; }
  at::Device device() const { return device_; }
  at::ScalarType dtype() const { return dtype_; }
  const std::filesystem::path& folder() const { return folder_; }

  const std::vector<Stack>& stacks() const { return stacks_; }
  /// All attentions, stack by stack and layer by layer.
  std::vector<const Attention*> attentions() const;
  /// Linear maps a method may target: those of all layers, then those of the head that the checkpoint has.
  std::vector<const Linear*> linear_sites() const;
  /// Word embeddings as the model scales them.     ids of any shape -> [..., C]
  at::Tensor words(const at::Tensor& ids) const { return stacks_.front().front_end->words(ids); }
  const at::Tensor& word_table() const { return stacks_.front().front_end->word_table(); }  ///< [V, C]
  /// Layer of the head the checkpoint has, or nullptr.
  const Linear* head_linear(const std::string& module) const;

  /// Every tensor of the backbone under its Hugging Face name; shares memory with the network.
  std::map<std::string, at::Tensor> named_tensors() const;
  /// Calls `visit` once for every tensor of the backbone and of the checkpoint's head; it may put another tensor in its place.
  void for_tensors(const TensorVisitor& visit);
  /// Hash of config.json and every tensor file of the folder.
  std::string fingerprint() const;
  /// Separate query, key and value maps instead of one, so that each can be trained and replaced.
  void unfuse();
  /// Replaces dropout rates of the checkpoint by one number, wherever the architecture has dropout.
  void override_dropout(double p);
  /// Takes another head of the architecture into use. Throws DataError where it has none of that kind.
  void choose_head(HeadKind kind);
  /// Returns what will serve the attention of these layers. Throws ConfigError when the wish cannot be met.
  std::string set_attention(AttentionImplementation wish);
  /// Norms and a method's additions by our own CUDA kernels, where they serve. Throws ConfigError on a CPU.
  void use_custom_kernels();
  const Execution& execution() const { return execution_; }

  /// Rows behind the last layer.
  ///
  /// `cache`: a decoder's tokens go on behind those that it has seen, and it sees these too. Virtual tokens stand in front of the first of
  /// them only. Throws DataError where a position is beyond a learned table, before anything is computed, and Error where a selected row
  /// is not there.
  Hidden hidden(const ModelInput& input, Sockets& sockets, const DropoutContext& dropout,
                const Selection& selection = {}, KeyValueCache* cache = nullptr) const;
  /// Pooled row of every sequence.     -> [B, C]
  at::Tensor pooled(const ModelInput& input, Sockets& sockets, const DropoutContext& dropout) const;
  /// Classifier logits in float32 (float64 in tests): the head in use on the pooled rows.     -> [B, N]
  at::Tensor classify(const ModelInput& input, Sockets& sockets, const DropoutContext& dropout) const;
  /// The head in use alone, on rows behind the last layer: pooled ones, or those of tokens.     -> [S, N]
  at::Tensor head_logits(const at::Tensor& x_SC, const Batch& rows, Sockets& sockets,
                         const DropoutContext& dropout) const;
  /// Logits over the vocabulary of rows behind the last layer, in float32 (float64 in tests).     -> [S, V]
  at::Tensor logits(const at::Tensor& x_SC) const;

 private:
  struct Stage;  // one stack's part of a pass

  Hidden run_stack(const Stage& stage, const Selection* selection) const;

  std::filesystem::path folder_;
  ModelSpec spec_;
  at::Device device_ = at::kCPU;
  at::ScalarType dtype_ = at::kFloat;
  Execution execution_;
  std::vector<Stack> stacks_;
  std::map<std::string, Linear> head_;
  Linear output_;  ///< of the vocabulary; a tied weight is undefined
};

}  // namespace peft
