#pragma once
/// Which rows of a stack a Selection means. Private to src/models.

#include "peft/models/transformer.h"

namespace peft {

/// Ascending numbers of rows of `longer`, which has `prompt_rows` virtual tokens in front of every sequence of `tokens`. Pool::mean means
/// all rows of the text. Throws Error where a row is not there.
std::vector<int64_t> selected_rows(const Selection& selection, Pool pool, int64_t eos_token, const Tokens& tokens,
                                   const PackedBatch& longer, int64_t prompt_rows);

/// Mean of each sequence's rows.     x_TC -> [B, C]
at::Tensor mean_rows(const at::Tensor& x_TC, const PackedBatch& rows);

}  // namespace peft
