#pragma once
/// Which implementation serves a call of attention(): one pure function of the situation. Private to src/kernels.

#include <ATen/core/Tensor.h>

#include "peft/kernels/attention.h"

namespace peft {

/// explicit_: probabilities are formed, one sequence at a time. cpu: the packed CPU operator. flash, efficient: the stock CUDA operators over
/// packed sequences.
enum class AttentionBackend { explicit_, cpu, flash, efficient };

struct AttentionSituation {
  bool cuda = false;
  at::ScalarType type = at::kFloat;
  int64_t width = 64;    ///< D
  bool dropout = false;  ///< on the probabilities
};

AttentionBackend select_backend(const AttentionSituation& situation);

}  // namespace peft
