#pragma once
/// What turns an input into the rows that enter a stack.

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>

#include "peft/kernels/embedding.h"
#include "peft/models/sites.h"

namespace peft {

/// Token ids of a packed batch, on the model's device.
struct Tokens {
  at::Tensor ids_T, types_T;  ///< int64; types undefined where the architecture has none
  Batch rows;
};

using TensorVisitor = std::function<void(const std::string& name, at::Tensor& tensor)>;

class FrontEnd {
 public:
  virtual ~FrontEnd() = default;
  /// Rows that enter the stack, normed, without the method's addition to norm().     tokens [T], P virtual tokens -> [T + B P, C]
  /// `longer` is tokens.rows->lengthened(P).
  virtual at::Tensor rows(const Tokens& tokens, const Embedded& embedded, const Batch& longer,
                          const Execution& execution) const = 0;
  /// Word embeddings as the model scales them.     ids of any shape -> [..., C]
  virtual at::Tensor words(const at::Tensor& ids) const = 0;
  virtual const at::Tensor& word_table() const = 0;  ///< [V, C]; undefined: none
  virtual const Norm& norm() const = 0;
  /// Throws DataError where a sequence is longer than a table of positions.
  virtual void check(const PackedBatch& longer) const = 0;
  virtual void for_tensors(const TensorVisitor& visit) = 0;
};

/// Word + position + type embeddings, then a norm.
class TokenEmbedding : public FrontEnd {
 public:
  /// An undefined tensor: the architecture has no such table.
  TokenEmbedding(const StackSpec& stack, at::Tensor word_VC, at::Tensor position_NC, at::Tensor type_UC, Norm norm);

  at::Tensor rows(const Tokens& tokens, const Embedded& embedded, const Batch& longer,
                  const Execution& execution) const override;
  at::Tensor words(const at::Tensor& ids) const override;
  const at::Tensor& word_table() const override { return word_VC_; }
  const Norm& norm() const override { return norm_; }
  void check(const PackedBatch& longer) const override;
  void for_tensors(const TensorVisitor& visit) override;

 private:
  EmbeddingTables tables() const;

  EmbeddingSpec spec_;
  NormKind norm_kind_;
  double norm_eps_;
  at::Tensor word_VC_, position_NC_, type_UC_;
  Norm norm_;
};

}  // namespace peft
