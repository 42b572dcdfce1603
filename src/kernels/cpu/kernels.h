#pragma once
/// The kernels of the CPU, once for each instruction set (docs/kernels.md#on-the-cpu). Private to src/kernels.

#include "src/kernels/cpu/packed_attention.h"
#include "src/kernels/cpu/rows.h"

namespace peft::cpu {

struct Kernels {
  const char* name;
  PackedAttentionKernel attention;
  RowKernel rows;
};

/// The fastest that this processor runs.
const Kernels& kernels();

/// All that it runs, the most general first.
struct AllKernels {
  const Kernels* items[4];
  int count;
};
AllKernels all_kernels();

}  // namespace peft::cpu
