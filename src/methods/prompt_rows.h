#pragma once
/// What methods with virtual tokens share. Private to src/methods.

#include <ATen/core/Tensor.h>

#include "peft/kernels/dropout.h"
#include "peft/methods/adapter.h"
#include "peft/methods/sign.h"
#include "peft/models/transformer.h"

namespace peft {

/// Throws DataError when `prompt_embeddings` is not as adapter_config.json announces it: [P, token_dim], or pairs for every layer
/// [P, 2 num_layers token_dim]. A config of another width is of another adapter.
void check_prompt_rows(const AdapterFiles& files, int64_t num_virtual_tokens);

/// The width alone, where the rows are those of every layer.
void check_prompt_columns(const AdapterFiles& files);

/// A batch with one sequence of `rows` rows for each adapter: what belongs to the bank and to no text.
Batch one_sequence_each(int64_t adapters, int64_t rows, at::Device device);

/// The rows of its adapter for each sequence, under that sequence's own dropout mask.     rows_KPX -> [B,P,X]
at::Tensor dropped_rows(const at::Tensor& rows_KPX, const PackedBatch& sequences, const DropoutSite& site);

/// The embedding socket of a prompt: rows [K,P,C] in front of every sequence, under its own dropout mask. `x_TC`: of the tokens.
Embedded put_in_front(const at::Tensor& rows_KPC, const PackedBatch& sequences, const DropoutSite& site,
                      at::Tensor x_TC = {});

/// The sign prompt_norm of one adapter's rows; `cure` helps where they start far from words.     rows_PC
Signs norm_beside_words(const at::Tensor& rows_PC, const Transformer& model, const std::string& cure);

/// What the classifier of a model reads with rows in front of the text: "first", as peft, the first of them in place of the text's first
/// token; "cls" that token.
inline Pool pool_with_rows(Pool own, const std::string& pooling) {
  return own == Pool::first_of_text && pooling == "first" ? Pool::first : own;
}

}  // namespace peft
