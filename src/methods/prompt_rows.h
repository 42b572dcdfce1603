#pragma once
/// The table of an adapter folder with virtual tokens. Private to src/methods.

#include "peft/methods/adapter.h"

namespace peft {

/// Throws DataError when the rows of `prompt_embeddings` are not those that adapter_config.json announces.     [P, ...]
inline void check_prompt_rows(const AdapterFiles& files, int64_t num_virtual_tokens) {
  const auto table = files.tensors.find("prompt_embeddings");
  if (table == files.tensors.end())
    throw_error<DataError>("{}/adapter_model.safetensors: tensor prompt_embeddings is missing", files.origin);
  const int64_t rows = table->second.dim() == 2 ? table->second.size(0) : 0;
  if (rows != num_virtual_tokens) {
    throw_error<DataError>("{}/adapter_config.json: num_virtual_tokens: found {}, but prompt_embeddings has {} rows",
                           files.origin, num_virtual_tokens, rows);
  }
}

}  // namespace peft
