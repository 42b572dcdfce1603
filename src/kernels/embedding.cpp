#include "peft/kernels/embedding.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "peft/kernels/grouped_matmul.h"
#include "src/kernels/custom/embedding.h"
#include "src/kernels/custom/tensors.h"

namespace peft {
namespace {

/// Token types of the longer sequences: prompt rows have type 0.
at::Tensor lengthened_types(const at::Tensor& types_T, const PackedBatch& rows, const PackedBatch& longer,
                            int64_t prompt_rows) {
  if (prompt_rows == 0) return types_T;
  at::Tensor types = at::zeros({longer.rows()}, types_T.options());
  for (int64_t b = 0; b < rows.sequences(); ++b) {
    types.narrow(0, longer.begin(b) + prompt_rows, rows.length(b))
        .copy_(types_T.narrow(0, rows.begin(b), rows.length(b)));
  }
  return types;
}

/// The start that all sequences have, if they have one.
std::optional<int64_t> common_start(const PackedBatch& rows) {
  if (rows.sequences() == 0) return 0;
  for (int64_t b = 1; b < rows.sequences(); ++b) {
    if (rows.start(b) != rows.start(0)) return std::nullopt;
  }
  return rows.start(0);
}

bool custom_embedding_serves(const EmbeddingTables& tables, const Embedded& embedded) {
  const at::Tensor &word = tables.word_VC, &x = embedded.x_TC;
  const auto norm = tables.norm.value_or(RowNorm{});
  const auto frozen = [](const at::Tensor& table) { return !table.defined() || !table.requires_grad(); };
  return tables.word_scale == 1.0 && !tables.position_T.defined() &&
         (x.defined() ? x.scalar_type() == word.scalar_type() : frozen(word)) &&
         custom::has_element(word.scalar_type()) && word.size(1) % 8 == 0 && word.size(1) <= custom::kMaxColumns &&
         frozen(tables.position_NC) && frozen(tables.type_UC) && frozen(norm.weight_C) && frozen(norm.bias_C);
}

}  // namespace

at::Tensor word_rows(const EmbeddingTables& tables, const at::Tensor& ids) {
  const at::Tensor rows = at::embedding(tables.word_VC, ids, tables.word_padding);
  return tables.word_scale == 1.0 ? rows : rows * tables.word_scale;
}

at::Tensor embed_rows(const EmbeddingTables& tables, const Embedded& embedded, const at::Tensor& ids_T,
                      const at::Tensor& types_T, const Batch& rows, const Batch& longer, const Execution& execution) {
  const std::optional<int64_t> start = common_start(*longer);
  if (execution.custom_kernels && start && custom_embedding_serves(tables, embedded)) {
    custom::EmbeddingTables frozen{
        tables.word_VC, tables.position_NC, tables.type_UC, tables.position_offset + *start, {}};
    if (const auto& norm = tables.norm) frozen.norm = custom::frozen_norm(*norm);
    return custom::packed_embedding(frozen, ids_T, tables.type_UC.defined() ? types_T : at::Tensor(),
                                    embedded.prompt_SPC, rows, embedded.prompt_per_sequence, embedded.x_TC);
  }
  at::Tensor x = embedded.x_TC.defined() ? embedded.x_TC : word_rows(tables, ids_T);
  const int64_t prompt_rows = embedded.prompt_rows();
  if (prompt_rows > 0)
    x = prepend_rows(embedded.prompt_SPC.to(x.scalar_type()), x, rows, longer, embedded.prompt_per_sequence);
  if (tables.type_UC.defined())
    x = x + at::embedding(tables.type_UC, lengthened_types(types_T, *rows, *longer, prompt_rows));
  if (tables.position_NC.defined())
    x = x + tables.position_NC.index_select(
                0, (tables.position_T.defined() ? tables.position_T : longer->position_T()) + tables.position_offset);
  return tables.norm ? normalised_sum(x, {}, *tables.norm, {}, longer, execution).y_TC : x;
}

}  // namespace peft
