#pragma once
/// How the operations of a pass run.

#include "peft/kernels/attention_implementation.h"

namespace peft {

/// Every operation falls back to plain ones where a kernel does not serve its arguments.
struct Execution {
  bool custom_kernels = false;  ///< norms, dropout, low-rank additions, first rows and losses by our own CUDA kernels
  AttentionImplementation attention = AttentionImplementation::automatic;
};

}  // namespace peft
