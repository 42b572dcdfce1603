#pragma once
/// Every method that trains in banks, and how two runs' adapters are compared.

#include "peft/interop/adapter_folder.h"
#include "tests/support/tiny_task.h"

namespace peft {

inline const std::vector<Json> kBankMethods{
    {{"type", "lora"}, {"r", 2}, {"lora_alpha", 4}},
    {{"type", "prompt"}, {"num_virtual_tokens", 3}, {"prompt_tuning_init", "SAMPLE_VOCAB"}},
    {{"type", "prompt"}, {"num_virtual_tokens", 3}, {"depth", "deep"}, {"prompt_dropout", 0.1}},
    {{"type", "dept"}, {"num_virtual_tokens", 3}, {"r", 2}},
    {{"type", "adept"}, {"num_virtual_tokens", 3}, {"r", 2}, {"compat", "code"}},
    // Not all biases: the gradient of a key's bias is zero but for rounding, and AdamW makes whole steps of rounding.
    {{"type", "bitfit"}, {"subset", "query_ffn"}},
    {{"type", "prefix"}, {"num_virtual_tokens", 3}},
    {{"type", "ntk_attention"}, {"feature_dropout", 0.1}},
    {{"type", "prefix"}, {"num_virtual_tokens", 3}, {"sharing", "simple"}, {"prefix_dropout", 0.1}},
    {{"type", "prefix"},
     {"num_virtual_tokens", 3},
     {"sharing", "deep"},
     {"network", "per_layer"},
     {"encoder_hidden_size", 6},
     {"prefix_dropout", 0.1},
     {"dropout_scope", "adapter"}},
    {{"type", "prefix"}, {"num_virtual_tokens", 3}, {"prefix_projection", true}},
    {{"type", "prefix"}, {"num_virtual_tokens", 3}, {"sharing", "deep"}, {"single", true}},
    {{"type", "p_tuning"}, {"num_virtual_tokens", 3}, {"prompt_dropout", 0.1}},
    {{"type", "p_tuning"},
     {"num_virtual_tokens", 3},
     {"encoder_reparameterization_type", "LSTM"},
     {"encoder_hidden_size", 6},
     {"encoder_dropout", 0.1}},
    {{"type", "p_tuning_v2"}, {"num_virtual_tokens", 3}},
    {{"type", "p_tuning_v2"}, {"num_virtual_tokens", 3}, {"prefix_projection", true}, {"encoder_hidden_size", 6}},
    {{"type", "linear_probe"}}};

/// The values of a method's config as a test's name.
inline std::string label_of(const Json& method) {
  std::string label;
  for (const auto& [key, value] : method.items()) {
    for (const char c : key + value.dump()) {
      if (std::isalnum(static_cast<unsigned char>(c)) != 0) label += c;
    }
  }
  return label;
}

/// Largest difference of two adapters' tensors, relative to the larger norm of each tensor.
inline double difference(const std::filesystem::path& a, const std::filesystem::path& b) {
  const AdapterFiles left = read_adapter(a), right = read_adapter(b);
  EXPECT_EQ(left.tensors.size(), right.tensors.size());
  EXPECT_EQ(left.trained.size(), right.trained.size());
  double worst = 0.0;
  for (const auto& [ours, theirs] :
       {std::pair{&left.tensors, &right.tensors}, std::pair{&left.trained, &right.trained}}) {
    for (const auto& [name, tensor] : *ours) {
      const at::Tensor x = tensor.to(at::kDouble), y = theirs->at(name).to(at::kDouble);
      worst = std::max(worst, (x - y).norm().item<double>() / std::max(1e-12, x.norm().item<double>()));
    }
  }
  return worst;
}

}  // namespace peft
