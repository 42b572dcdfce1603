#pragma once
/// Prompts, embeddings and the first norm of packed rows in one launch (packed_embedding). Private to src/kernels.
/// T tokens, B sequences, K adapters, P prompt rows of S sources, C columns.

#include <optional>

#include "peft/tensor/packed_batch.h"
#include "src/kernels/custom/norm.h"

namespace peft::custom {

/// What stands in front of the first layer, frozen: contiguous tensors of one type, bfloat16, half or float32.
struct EmbeddingTables {
  at::Tensor word_VC;               ///< not read where tokens bring their rows
  at::Tensor position_NC, type_UC;  ///< undefined: none
  int64_t position_offset = 0;      ///< row of `position` of a sequence's first row
  std::optional<FrozenNorm> norm;
};

/// P prompt rows in front of the tokens of every sequence: y = norm(e + type[.] + position[.]), e = prompt[s, p], or x[t], or word[id].
///   x_TC (undefined: the words of ids_T), types_T (undefined: all 0), prompt_SPC (undefined: P = 0) -> [T + B P, C], rows as
///   rows->lengthened(P) has them
///
/// A source is an adapter (S = K) or, with `prompt_per_sequence`, a sequence (S = B). Positions count from a sequence's first prompt row;
/// prompt rows have type 0. A prompt is rounded to the tables' type where it is read. Without norm, position and type a row is bitwise its
/// table's. Differentiable in x, and in the prompt, summed in float32: zeros for an adapter without sequences, and bitwise those of a batch
/// without the other adapters. ids and types stay on the device and are not checked against their tables.
/// Throws Error when shapes or types contradict each other or `rows`, when C is not a multiple of 8 or above 8192, or when a sequence has more
/// rows than `position`.
at::Tensor packed_embedding(const EmbeddingTables& tables, const at::Tensor& ids_T, const at::Tensor& types_T,
                            const at::Tensor& prompt_SPC, const Batch& rows, bool prompt_per_sequence = false,
                            const at::Tensor& x_TC = {});

}  // namespace peft::custom
