#pragma once
/// Files that a method's authors released, which `peft-tool import` turns into adapter folders.

#include <ATen/core/Tensor.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "peft/methods/adapter.h"

namespace peft {

struct ReleasedFiles {
  AdapterFiles files;  ///< adapter_config.json as it is, the heads (base_model.*), and the origin for messages
  std::map<std::string, at::Tensor> tensors;  ///< float32, under the last part of each name: their code writes
                                              ///< `prompt_encoder.lora_embedding_A` and the like
  bool interleaved = false;                   ///< the user says: a prefix table whose keys and values alternate
  /// Throws DataError when it is missing or has another number of dimensions.
  const at::Tensor& required(const std::string& tensor, int64_t dimensions) const;
};

}  // namespace peft
