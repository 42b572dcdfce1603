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

/// The checkpoint alone: every socket stays silent and its own head answers. Throws DataError where it has none.
LoadedAdapter bare_model(Transformer& model);

/// Tokens of a text: the model's positions less those that virtual tokens take.
int64_t longest_text(const Transformer& model, const Method& method);

/// Throws DataError when virtual tokens leave no position for a text.
void check_room(const Transformer& model, const Method& method, const std::filesystem::path& adapter);

/// Throws DataError when a row has a token type that the model lacks.
void check_types(const Transformer& model, const EncodedSplit& split);

class ModelSession {
 public:
  /// Without an adapter the checkpoint's own head answers. `dtype`: float32, bfloat16, auto. `device`: auto, cpu, cuda. Throws DataError
  /// for bad folders, a head that nobody brings, and a tokenizer with more ids than the model has word vectors.
  ModelSession(const std::filesystem::path& model, const std::optional<std::filesystem::path>& adapter,
               const std::string& dtype, const std::string& device);

  const Tokenizer& tokenizer() const { return *open_.tokenizer; }
  const Transformer& model() const { return open_.model; }
  Method& method() { return *loaded_.method; }
  int64_t virtual_tokens() const { return loaded_.method->virtual_tokens(); }
  int64_t outputs() const { return loaded_.outputs; }  ///< N, rows of the head in use
  HeadKind head() const { return loaded_.head; }
  /// Class id -> name, as the adapter or the whole model tells it; empty: it does not.
  const std::vector<std::string>& labels() const { return loaded_.labels; }
  /// Puts the rows of the head into the order of these names, where its own are known. Throws DataError naming both lists.
  void order_labels(const std::vector<std::string>& labels);
  const std::string& origin() const { return origin_; }  ///< the folder that the head is from
  int64_t longest_text() const { return peft::longest_text(model(), *loaded_.method); }

  /// Throws DataError when a row has no token, or a token type that the model lacks. Lengths are the caller's to check.
  void check_rows(const EncodedSplit& split) const;

 private:
  OpenModel open_;
  LoadedAdapter loaded_;
  std::string origin_;
};

}  // namespace peft
