#pragma once
/// A model folder ready to answer: its tokenizer, the network, and the adapter on it. What peft-eval and `peft-tool logits` share.

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "peft/data/dataset.h"
#include "peft/interop/adapter_folder.h"
#include "peft/train/open_model.h"

namespace peft {

class ModelSession {
 public:
  /// Without an adapter the checkpoint's own head answers. `dtype`: float32, bfloat16, auto. `device`: auto, cpu, cuda. Throws DataError
  /// for bad folders, a head that nobody brings, and a tokenizer with more ids than the model has word vectors.
  ModelSession(const std::filesystem::path& model, const std::optional<std::filesystem::path>& adapter,
               const std::string& dtype, const std::string& device);

  const Tokenizer& tokenizer() const { return *open_.tokenizer; }
  const Transformer& model() const { return open_.model; }
  Method& method() { return *method_; }
  int64_t virtual_tokens() const { return method_->virtual_tokens(); }
  int64_t outputs() const { return outputs_; }  ///< N, rows of the head in use
  /// Class id -> name, as the adapter or the whole model tells it; empty: it does not.
  const std::vector<std::string>& labels() const { return labels_; }
  /// Puts the rows of the head into the order of these names, where its own are known. Throws DataError naming both lists.
  void order_labels(const std::vector<std::string>& labels);
  const std::string& origin() const { return origin_; }  ///< the folder that the head is from
  int64_t longest_text() const;  ///< tokens: the model's positions less those that virtual tokens take

  /// Throws DataError when a row has no token, or a token type that the model lacks. Lengths are the caller's to check.
  void check_rows(const EncodedSplit& split) const;

 private:
  OpenModel open_;
  std::unique_ptr<MethodConfig> config_;
  std::unique_ptr<Method> method_;
  int64_t outputs_ = 0;
  std::vector<std::string> labels_;
  std::string origin_;
};

}  // namespace peft
