#include "src/methods/prompt_rows.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "peft/base/error.h"
#include "peft/kernels/grouped_matmul.h"

namespace peft {

void check_prompt_columns(const AdapterFiles& files) {
  int64_t width = 0, layers = 0;
  files.read("token_dim", width);
  files.read("num_layers", layers);
  const auto table = files.tensors.find("prompt_embeddings");
  if (table == files.tensors.end() || table->second.dim() != 2 || width == 0) return;
  const int64_t found = table->second.size(1);
  if (found == width || found == 2 * layers * width) return;
  throw_error<DataError>(
      "{}/adapter_model.safetensors: tensor prompt_embeddings has {} columns, expected {} or {} by adapter_config.json "
      "(token_dim {}, num_layers {})",
      files.origin, found, width, 2 * layers * width, width, layers);
}

void check_prompt_rows(const AdapterFiles& files, int64_t num_virtual_tokens) {
  const auto table = files.tensors.find("prompt_embeddings");
  if (table == files.tensors.end())
    throw_error<DataError>("{}/adapter_model.safetensors: tensor prompt_embeddings is missing", files.origin);
  const int64_t rows = table->second.dim() == 2 ? table->second.size(0) : 0;
  if (rows != num_virtual_tokens) {
    throw_error<DataError>("{}/adapter_config.json: num_virtual_tokens: found {}, but prompt_embeddings has {} rows",
                           files.origin, num_virtual_tokens, rows);
  }
  check_prompt_columns(files);
}

Batch one_sequence_each(int64_t adapters, int64_t rows, at::Device device) {
  std::vector<PackedBatch::Sequence> sequences;
  for (int64_t k = 0; k < adapters; ++k) sequences.push_back({rows, k, 0});
  return std::make_shared<const PackedBatch>(sequences, adapters, device);
}

at::Tensor dropped_rows(const at::Tensor& rows_KPX, const PackedBatch& sequences, const DropoutSite& site) {
  const int64_t count = rows_KPX.size(1);
  std::vector<PackedBatch::Sequence> prompts;
  for (int64_t b = 0; b < sequences.sequences(); ++b)
    prompts.push_back({count, sequences.adapter(b), sequences.ordinal(b)});
  const auto batch = std::make_shared<const PackedBatch>(prompts, sequences.adapters(), sequences.device());
  const at::Tensor rows = gather_adapters(rows_KPX, sequences);
  return dropout(rows.flatten(0, 1), site, batch).unflatten(0, {-1, count});
}

Embedded put_in_front(const at::Tensor& rows_KPC, const PackedBatch& sequences, const DropoutSite& site,
                      at::Tensor x_TC) {
  const bool dropped = site.active();
  return {std::move(x_TC), dropped ? dropped_rows(rows_KPC, sequences, site) : rows_KPC, dropped};
}

Signs norm_beside_words(const at::Tensor& rows_PC, const Transformer& model, const std::string& cure) {
  constexpr int64_t kWords = 1000;  // evenly spaced: their median is that of the table within a few percent
  const int64_t vocabulary = model.word_table().size(0);
  const at::Tensor ids = at::arange(0, vocabulary, std::max<int64_t>(1, vocabulary / kWords),
                                    at::TensorOptions(model.device()).dtype(at::kLong));
  const at::Tensor word = model.words(ids).to(at::kDouble).norm(2, 1).median();
  const at::Tensor rows = rows_PC.detach().to(at::kDouble).norm(2, 1).mean();
  return {{"prompt_norm", {(rows / word).item<double>(), cure}}};
}

}  // namespace peft
