#include "src/interop/unknown_keys.h"

#include <algorithm>
#include <array>

#include "peft/base/log.h"

namespace peft {
namespace {

/// Beside the keys of the method's own config.
constexpr std::array kKnown{// peft: whose adapter it is, and how it was made
                            "auto_mapping", "base_model_name_or_path", "inference_mode", "peft_type", "peft_version",
                            "revision", "target_modules", "task_type", "tokenizer_kwargs", "tokenizer_name_or_path",
                            // peft: told by the tensors' names and shapes
                            "encoder_dropout", "encoder_hidden_size", "encoder_num_layers",
                            "encoder_reparameterization_type", "fan_in_fan_out", "init_weights", "layers_pattern",
                            "loftq_config", "num_attention_heads", "num_layers", "num_transformer_submodules",
                            "prefix_projection", "token_dim",
                            // peft: they act only with a key that is refused where it has a value
                            "megatron_config", "megatron_core", "qalora_group_size",
                            // read by the methods
                            "bias",
                            // ours
                            "feature_dim", "format_version", "library", "peft_compatible"};

bool asks_for_nothing(const Json& value) {
  return value.is_null() || value == false || value == "" || (value.is_structured() && value.empty());
}

}  // namespace

void warn_of_unknown_keys(MethodConfig& config, const AdapterFiles& files) {
  const Json own = schema_fields([&](Fields& fields) { config.visit(fields); }).at("properties");
  for (const auto& [key, value] : files.config.items()) {
    if (own.contains(key) || asks_for_nothing(value)) continue;
    if (std::find(kKnown.begin(), kKnown.end(), key) != kKnown.end()) continue;
    log_warning("{}/adapter_config.json: {}: {} is not known to this program and has no effect", files.origin, key,
                value.dump());
  }
}

}  // namespace peft
