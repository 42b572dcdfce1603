#include "src/methods/prompt_init.h"

#include <ATen/ATen.h>

#include <cmath>

#include "peft/base/error.h"

namespace peft {

std::vector<int64_t> initial_text_ids(const Tokenizer* tokenizer, const std::string& text, int64_t rows,
                                      const std::string& choice, const std::string& key) {
  if (tokenizer == nullptr) throw_error<ConfigError>("method.{} needs the model folder's tokenizer", choice);
  const Encoding encoding = tokenizer->encode(text);  // with special tokens, as peft
  if (encoding.ids.empty()) throw_error<ConfigError>("method.{}: \"{}\" has no tokens", key, text);
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < rows; ++i) ids.push_back(encoding.ids[i % encoding.ids.size()]);
  return ids;
}

void fill_prompt_rows(std::span<float> values, const PromptInit& init, const Transformer& model,
                      const Tokenizer* tokenizer, const RngStream& stream) {
  const int64_t width = model.spec().first().width, rows = static_cast<int64_t>(values.size()) / width;
  if (init.kind == "RANDOM") return stream.fill_normal(values, 0.0F, 1.0F);
  if (init.kind == "UNIFORM") {
    const auto bound = static_cast<float>(std::sqrt(6.0 / static_cast<double>(width)));
    return stream.fill_uniform(values, -bound, bound);
  }
  std::vector<int64_t> ids;
  if (init.kind == "TEXT") {
    const auto text =
        initial_text_ids(tokenizer, *init.text, init.rows, "prompt_tuning_init: \"TEXT\"", "prompt_tuning_init_text");
    for (int64_t i = 0; i < rows; ++i) ids.push_back(text[i % init.rows]);
  } else {
    const auto vocabulary = static_cast<uint64_t>(model.spec().first().embedding.vocabulary);
    for (int64_t i = 0; i < rows; ++i) ids.push_back(static_cast<int64_t>(stream.below(i, vocabulary)));
  }
  const at::Tensor embedded = model.words(at::tensor(at::ArrayRef<int64_t>(ids), at::kLong).to(model.device()))
                                  .detach()
                                  .to(at::kCPU, at::kFloat)
                                  .contiguous();
  std::copy_n(embedded.data_ptr<float>(), values.size(), values.begin());
}

}  // namespace peft
