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
  double word_scale = 1.0;          ///< factor of word embeddings alone
  at::Tensor position_NC, type_UC;  ///< undefined: none
  int64_t position_offset = 0;      ///< row of `position` of position 0
  at::Tensor position_T = {};       ///< positions of the rows; undefined: those of the batch
  std::optional<RowNorm> norm;
};

/// What takes the place of word embeddings, or stands in front of them.
struct Embedded {
  at::Tensor x_TC;                   ///< rows of the tokens; undefined: their word embeddings
  at::Tensor prompt_SPC;             ///< P rows in front of every sequence that stand for no token; undefined: none
  bool prompt_per_sequence = false;  ///< S = B, else those of a sequence's adapter: S = K
  int64_t prompt_rows() const { return prompt_SPC.defined() ? prompt_SPC.size(1) : 0; }
};

/// Word embeddings as the model scales them.     ids of any shape -> [..., C]
at::Tensor word_rows(const EmbeddingTables& tables, const at::Tensor& ids);

/// y = norm(e + type[.] + position[.]),  e = prompt[s, p], or x[t], or word[id].     ids_T, types_T -> [T + B P, C]
///
/// `longer` is rows->lengthened(P), or `rows` itself where P = 0. Prompt rows have the first positions and type 0, and are rounded to the
/// type of the tokens' rows. Differentiable in x, prompt and tables.
/// Custom kernel (packed_embedding), one launch: frozen tables in float32, bfloat16 or half, x of their type, C a multiple of 8 up to 8192;
/// differentiable in x and the prompt.
at::Tensor embed_rows(const EmbeddingTables& tables, const Embedded& embedded, const at::Tensor& ids_T,
                      const at::Tensor& types_T, const Batch& rows, const Batch& longer,
                      const Execution& execution = {});

}  // namespace peft
