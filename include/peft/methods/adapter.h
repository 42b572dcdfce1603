#pragma once
/// What an adapter folder holds: adapter_config.json and the tensors of adapter_model.safetensors, one adapter, no K.

#include <ATen/core/Tensor.h>

#include <map>
#include <string>

#include "peft/base/error.h"
#include "peft/base/json.h"

namespace peft {

struct AdapterFiles {
  Json config;
  std::map<std::string, at::Tensor> tensors;
  std::string origin;  ///< the folder, for messages

  /// A key of the config into `target`; absent or null leaves it alone. Throws DataError when it has another type.
  template <class T>
  void read(const char* key, T& target) const {
    const auto it = config.find(key);
    if (it == config.end() || it->is_null()) return;
    try {
      it->get_to(target);
    } catch (const Json::exception&) {
      throw_error<DataError>("{}/adapter_config.json: {}: {} has the wrong type", origin, key, it->dump());
    }
  }
};

}  // namespace peft
