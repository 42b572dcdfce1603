#pragma once
/// A norm with frozen weights: y = xhat gamma + beta. No CUDA header.
///   layer_norm   xhat = (x - mean) rstd    rstd = 1 / sqrt(mean((x - mean)^2) + eps)     [Ba et al. 2016]
///   rms_norm     xhat = x rstd             rstd = 1 / sqrt(mean(x^2) + eps)              [Zhang and Sennrich 2019]

#include <cstdint>

namespace peft::cuda {

enum class NormKind : int32_t { layer_norm, rms_norm };

struct FrozenNorm {
  NormKind kind = NormKind::layer_norm;
  float eps = 1e-12F;
  const void* gamma = nullptr;  ///< [C]; null: ones
  const void* beta = nullptr;   ///< [C]; null: zeros
};

}  // namespace peft::cuda
