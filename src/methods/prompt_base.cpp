#include "src/methods/prompt_base.h"

#include <ATen/ATen.h>

#include <fmt/ranges.h>
#include <algorithm>

#include "peft/base/error.h"
#include "peft/kernels/grouped_matmul.h"
#include "src/methods/prompt_init.h"
#include "src/methods/prompt_rows.h"

namespace peft {

void VirtualRowsConfig::visit(Fields& fields) {
  MethodConfig::visit(fields);
  fields.field("num_virtual_tokens", num_virtual_tokens, {.help = "P, rows in front of the text", .min = 1});
  fields.field("prompt_tuning_init", prompt_tuning_init,
               {.help = "start values of the rows: N(0,1), a text's word embeddings, those of random tokens, uniform",
                .choices = {"RANDOM", "TEXT", "SAMPLE_VOCAB", "UNIFORM"},
                .per_job = true});
  fields.field("prompt_tuning_init_text", prompt_tuning_init_text,
               {.help = "the text of TEXT, repeated and cut to P tokens", .per_job = true});
  fields.field("prompt_dropout", prompt_dropout,
               {.help = "dropout on the rows, each sequence its own mask",
                .min = 0,
                .max = 1,
                .max_exclusive = true,
                .per_job = true});
  fields.field(
      "pooling", pooling,
      {.help = "row the classifier reads: the first of the longer sequence (as peft), or the text's own first ([CLS])",
       .choices = {"first", "cls"}});
}

void VirtualRowsConfig::validate() const {
  MethodConfig::validate();
  if (prompt_tuning_init == "TEXT" && prompt_tuning_init_text.value_or("").empty()) {
    throw_error<ConfigError>("method.prompt_tuning_init_text: required by prompt_tuning_init \"TEXT\"");
  }
}

VirtualRows::VirtualRows(Transformer& model, const BankSpec& bank)
    : Method(model, bank),
      rows_config_(dynamic_cast<const VirtualRowsConfig&>(*bank.configs.at(0))),
      rates_(rates_of(bank, &VirtualRowsConfig::prompt_dropout)) {
  check_positions(rows_config_.num_virtual_tokens);
}

at::Tensor VirtualRows::add_prompt(std::vector<int64_t> shape) {
  return add_parameter("prompt", std::move(shape), "adapter", [&](int64_t k, std::span<float> values) {
    if (bank_.from_files) return;
    const auto& own = dynamic_cast<const VirtualRowsConfig&>(*bank_.configs.at(k));
    fill_prompt_rows(values, {own.prompt_tuning_init, own.prompt_tuning_init_text, own.num_virtual_tokens}, model_,
                     bank_.tokenizer, init_stream(k, "prompt"));
  });
}

Signs VirtualRows::measure(int64_t k, const ModelInput& /*probe*/) {
  at::Tensor rows = parameter("prompt").value.detach()[k];
  if (rows.dim() == 3) rows = rows[0];  // deep: those that stand beside words
  return norm_beside_words(rows, model_,
                           bank_.configs.at(k)->init_from
                               ? "method.init_from: that adapter's rows have another scale; start afresh"
                               : "method.prompt_tuning_init: \"SAMPLE_VOCAB\" and \"TEXT\" start from words");
}

Embedded VirtualRows::in_front(const at::Tensor& bank_KPC, const Batch& rows, at::Tensor x_TC) const {
  return put_in_front(bank_KPC, *rows, site("prompt.dropout"), std::move(x_TC));
}

at::Tensor VirtualRows::in_place(const at::Tensor& bank_KPC, const at::Tensor& x_TC, const Batch& rows,
                                 int64_t layer) const {
  const DropoutSite dropout = site("prompt." + std::to_string(layer) + ".dropout");
  const at::Tensor bank = dropout.active() ? dropped_rows(bank_KPC, *rows, dropout) : bank_KPC;
  return overwrite_rows(bank.to(x_TC.scalar_type()), x_TC, rows, dropout.active());
}

void check_announced(const AdapterFiles& files, const std::string& tensor, const std::vector<int64_t>& shape) {
  const auto it = files.tensors.find(tensor);
  if (it == files.tensors.end())
    throw_error<DataError>("{}/adapter_model.safetensors: tensor {} is missing", files.origin, tensor);
  const auto found = it->second.sizes();
  bool fits = found.size() == shape.size();
  for (std::size_t i = 0; fits && i < shape.size(); ++i) fits = shape[i] < 0 || shape[i] == found[i];
  if (fits) return;
  std::vector<std::string> expected;
  for (const int64_t size : shape) expected.push_back(size < 0 ? "*" : std::to_string(size));
  throw_error<DataError>("{}/adapter_model.safetensors: tensor {} has shape [{}], expected [{}] by adapter_config.json",
                         files.origin, tensor, fmt::join(found, ", "), fmt::join(expected, ", "));
}

bool is_low_rank_release(const ReleasedFiles& released) {
  return !released.interleaved && std::any_of(released.tensors.begin(), released.tensors.end(), [](const auto& entry) {
    return entry.first.starts_with("lora_embedding_");
  });
}

Json released_config(const ReleasedFiles& released, const char* peft_type, int64_t rank) {
  const Json& theirs = released.files.config;
  const at::Tensor& prompt = released.required("prompt_embeddings", 2);
  const Json task = released.files.tensors.empty() ? Json() : Json(kSequenceClassification);
  return {{"peft_type", peft_type},
          {"task_type", theirs.value("task_type", task)},
          {"base_model_name_or_path", theirs.value("base_model_name_or_path", Json())},
          {"modules_to_save", {"classifier", "score"}},
          {"inference_mode", true},
          {"library", "peft.cpp"},
          {"format_version", 1},
          {"num_virtual_tokens", prompt.size(0)},
          {"token_dim", prompt.size(1)},
          {"r", rank},
          {"left_pad_positions", theirs.value("task_type", Json()) == kCausalLanguageModel},
          {"pooling", "first"}};
}

}  // namespace peft
