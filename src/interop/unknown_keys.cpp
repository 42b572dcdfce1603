#include "src/interop/unknown_keys.h"

#include <algorithm>
#include <array>

#include "peft/base/log.h"

namespace peft {
namespace {

/// Of every method's file. peft: whose adapter it is, and how it was made; then ours, of which older files have the last.
constexpr std::array kCommon{
    "auto_mapping",     "base_model_name_or_path", "inference_mode", "peft_version", "revision",       "task_type",
    "tokenizer_kwargs", "tokenizer_name_or_path",  "format_version", "library",      "peft_compatible"};

bool asks_for_nothing(const Json& value) {
  return value.is_null() || value == false || value == Json("") || (value.is_structured() && value.empty());
}

bool contains(const auto& keys, const std::string& key) {
  return std::find(keys.begin(), keys.end(), key) != keys.end();
}

}  // namespace

void warn_of_unknown_keys(MethodConfig& config, const Json& folded, const AdapterFiles& files) {
  const Json fields = schema_fields([&](Fields& visited) { config.visit(visited); }).at("properties");
  const std::vector<std::string> idle = config.idle_file_keys();
  for (const auto& [key, value] : files.config.items()) {
    if (asks_for_nothing(value) || fields.contains(key) || folded.contains(key)) continue;
    if (contains(kCommon, key) || contains(idle, key)) continue;
    log_warning("{}/adapter_config.json: {}: {} is not known to this program and has no effect", files.origin, key,
                value.dump());
  }
}

}  // namespace peft
