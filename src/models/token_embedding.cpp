#include <ATen/ATen.h>

#include "peft/base/error.h"
#include "peft/models/front_end.h"

namespace peft {
namespace {

/// Positions that count the tokens other than `padding`, which has position -1. Undefined where no token is padding.
at::Tensor positions_without(int64_t padding, const Tokens& tokens) {
  const at::Tensor ids = tokens.ids_T.cpu();
  if (!ids.eq(padding).any().item<bool>()) return {};
  const PackedBatch& rows = *tokens.rows;
  std::vector<int64_t> positions;
  for (int64_t b = 0; b < rows.sequences(); ++b) {
    int64_t next = rows.start(b);
    for (int64_t t = rows.begin(b); t < rows.begin(b) + rows.length(b); ++t)
      positions.push_back(ids.const_data_ptr<int64_t>()[t] == padding ? -1 : next++);
  }
  return row_numbers(positions, rows);
}

}  // namespace

TokenEmbedding::TokenEmbedding(const StackSpec& stack, at::Tensor word_VC, at::Tensor position_NC, at::Tensor type_UC,
                               Norm norm)
    : spec_(stack.embedding),
      norm_kind_(stack.norm),
      norm_eps_(stack.norm_eps),
      word_VC_(std::move(word_VC)),
      position_NC_(std::move(position_NC)),
      type_UC_(std::move(type_UC)),
      norm_(std::move(norm)) {}

EmbeddingTables TokenEmbedding::tables() const {
  EmbeddingTables tables{.word_VC = word_VC_,
                         .word_padding = spec_.padding,
                         .word_scale = spec_.scale,
                         .position_NC = position_NC_,
                         .type_UC = type_UC_,
                         .position_offset = spec_.position_offset,
                         .norm = std::nullopt};
  if (norm_.weight_C.defined()) tables.norm = {norm_kind_, norm_eps_, norm_.weight_C, norm_.bias_C};
  return tables;
}

at::Tensor TokenEmbedding::rows(const Tokens& tokens, const Embedded& embedded, const Batch& longer,
                                const Execution& execution) const {
  EmbeddingTables own = tables();
  // transformers counts positions by ids, but not where a method brings rows of its own.
  if (spec_.padding_has_no_position && !embedded.x_TC.defined() && embedded.prompt_rows() == 0)
    own.position_T = positions_without(spec_.padding, tokens);
  return embed_rows(own, embedded, tokens.ids_T, tokens.types_T, tokens.rows, longer, execution);
}

at::Tensor TokenEmbedding::words(const at::Tensor& ids) const { return word_rows(tables(), ids); }

void TokenEmbedding::check(const PackedBatch& longer) const {
  const int64_t usable = spec_.usable_positions();
  for (int64_t b = 0; b < longer.sequences(); ++b) {
    if (const int64_t end = longer.start(b) + longer.length(b); end > usable)
      throw_error<DataError>("a sequence of {} positions, but {} has {}", end, spec_.position, usable);
  }
}

void TokenEmbedding::for_tensors(const TensorVisitor& visit) {
  const auto one = [&](const std::string& name, at::Tensor& tensor) {
    if (tensor.defined()) visit(name, tensor);
  };
  one(spec_.word + ".weight", word_VC_);
  one(spec_.position + ".weight", position_NC_);
  one(spec_.token_type + ".weight", type_UC_);
  one(norm_.module + ".weight", norm_.weight_C);
  one(norm_.module + ".bias", norm_.bias_C);
}

}  // namespace peft
