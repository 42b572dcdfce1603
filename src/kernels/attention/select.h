#pragma once
/// Which implementation serves a call of attention(): one pure function of the situation. Private to src/kernels.

#include <ATen/core/Tensor.h>

#include "peft/kernels/attention.h"

namespace peft {

/// explicit_: probabilities are formed, one sequence at a time. cpu: the packed CPU operator. flash, cudnn, efficient: stock CUDA operators.
enum class AttentionBackend { reference, explicit_, cpu, flash, cudnn, efficient };

struct AttentionSituation {
  AttentionImplementation wish = AttentionImplementation::automatic;
  bool cuda = false;
  at::ScalarType type = at::kFloat;
  int64_t width = 64;      ///< D
  bool dropout = false;    ///< on the probabilities
  bool positions = false;  ///< a position bias or a window
};

struct AttentionChoice {
  AttentionBackend backend = AttentionBackend::explicit_;
  bool own_source = false;  ///< prefixes and states by our own kernels
  bool operator==(const AttentionChoice&) const = default;
};

/// Throws ConfigError when the wish cannot be met.
AttentionChoice select_attention(const AttentionSituation& situation);

std::string_view name_of(AttentionBackend backend);

}  // namespace peft
