#pragma once
/// The `method` sections that tests train, by name: every method, and its variants that train otherwise. tests/e2e reads the same file.

#include <map>
#include <string>
#include <vector>

#include "peft/base/error.h"
#include "peft/base/json.h"
#include "peft/methods/method.h"

namespace peft {

inline std::map<std::string, Json> method_configs() {
  const Json file = read_json_file<DataError>(PEFT_SOURCE_DIR "/tests/support/method_configs.json");
  return file.get<std::map<std::string, Json>>();
}

/// The first of a method.
inline Json method_config_of(const std::string& type) {
  for (const auto& [name, config] : method_configs()) {
    if (config.at("type") == type) return config;
  }
  throw_error("tests/support/method_configs.json: no config of type {}", type);
}

/// Of the methods that train in banks.
inline std::vector<Json> bank_methods() {
  std::vector<Json> configs;
  for (const auto& [name, config] : method_configs()) {
    // The gradient of a key's bias is zero but for rounding, and AdamW makes whole steps of rounding: no two runs are
    // close.
    const bool all_biases = name == "bitfit";
    if (methods().at(config.at("type")).config()->shares_bank() && !all_biases) configs.push_back(config);
  }
  return configs;
}

}  // namespace peft
