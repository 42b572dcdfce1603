#include "peft/train/open_model.h"

#include <ATen/Context.h>

#include "peft/base/error.h"
#include "peft/base/log.h"
#include "peft/base/model_folder.h"

namespace peft {

at::Device choose_device(const std::string& name, const std::string& key) {
  const bool available = at::hasCUDA();
  if (name == "cuda" && !available) {
    throw_error<ConfigError>(
        "{}: found \"cuda\", but this machine or build has no CUDA device; use \"cpu\", or "
        "configure with -DPEFT_CUDA=ON",
        key);
  }
  return name != "cpu" && available ? at::Device(at::kCUDA, 0) : at::Device(at::kCPU);
}

OpenModel open_model(const ModelConfig& config, at::Device device) {
  const auto folder = find_model_folder(config.path);
  OpenModel open{Transformer::load(folder, config.dtype, device), Tokenizer::load(folder)};
  if (config.dropout.is_number()) open.model.override_dropout(config.dropout.get<double>());
  const auto wish = attention_implementation(config.attn_implementation);
  const std::string backend = open.model.set_attention(wish);
  if (wish != AttentionImplementation::automatic || device.is_cuda())  // a CPU has one
    log_info("attention: {}", backend);
  if (config.use_kernels) open.model.use_custom_kernels();
  const int64_t vectors = open.model.spec().embedding().vocabulary;
  if (open.tokenizer->size() > vectors) {
    throw_error<DataError>(
        "{}: the tokenizer has ids up to {}, the model only {} word vectors (config.json: vocab_size)", config.path,
        open.tokenizer->size() - 1, vectors);
  }
  return open;
}

}  // namespace peft
