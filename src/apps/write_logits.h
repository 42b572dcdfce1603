#pragma once
/// The file of raw logits that peft-eval and `peft-tool logits` write.

#include <ATen/core/Tensor.h>

#include <filesystem>

namespace peft {

/// Safetensors with float32 `logits` [B, N], one row per example, and int64 `cu_seqlens` [B + 1] = 0, 1, ..., B.
void write_logits(const std::filesystem::path& file, const at::Tensor& logits_BN);

}  // namespace peft
