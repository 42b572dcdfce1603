#include "src/apps/write_logits.h"

#include <ATen/ATen.h>

#include "peft/tensor/safetensors.h"

namespace peft {

void write_logits(const std::filesystem::path& file, const at::Tensor& logits_BN) {
  write_safetensors(file, {{"logits", logits_BN}, {"cu_seqlens", at::arange(logits_BN.size(0) + 1, at::kLong)}});
}

}  // namespace peft
