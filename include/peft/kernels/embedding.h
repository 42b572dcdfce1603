#pragma once
/// The rows that go into the first layer: prompts, word, position and type embeddings, and the first norm.
/// T tokens, B sequences, K adapters, P prompt rows of S sources, C columns.

#include <optional>

#include "peft/kernels/norm.h"
#include "peft/tensor/packed_batch.h"

namespace peft {

struct EmbeddingTables {
  at::Tensor word_VC;
  int64_t word_padding = -1;        ///< row of `word` that gets no gradient
  at::Tensor position_NC, type_UC;  ///< undefined: none
  int64_t position_offset = 0;      ///< row of `position` of a sequence's first row
  std::optional<RowNorm> norm;
};

/// What takes the place of word embeddings, or stands in front of them.
struct Embedded {
  at::Tensor x_TC;                   ///< rows of the tokens; undefined: their word embeddings
  at::Tensor prompt_SPC;             ///< P rows in front of every sequence that stand for no token; undefined: none
  bool prompt_per_sequence = false;  ///< S = B, else those of a sequence's adapter: S = K
  int64_t prompt_rows() const { return prompt_SPC.defined() ? prompt_SPC.size(1) : 0; }
};

/// y = norm(e + type[.] + position[.]),  e = prompt[s, p], or x[t], or word[id].     ids_T, types_T -> [T + B P, C]
///
/// `longer` is rows->lengthened(P), or `rows` itself where P = 0. Positions count from a sequence's first row. Prompt rows have type 0 and
/// are rounded to the type of the tokens' rows. Differentiable in x, prompt and tables.
/// `own`: in one launch by our own kernel (packed_embedding) where it serves. It serves frozen tables in float32, bfloat16 or half, x of
/// their type, and C a multiple of 8 up to 8192; it is differentiable in x and the prompt.
at::Tensor embed_rows(const EmbeddingTables& tables, const Embedded& embedded, const at::Tensor& ids_T,
                      const at::Tensor& types_T, const Batch& rows, const Batch& longer, bool own = false);

}  // namespace peft
