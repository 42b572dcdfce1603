#pragma once
/// What names the dropout masks of an adapter at a site. Private to src/kernels.

#include <cstdint>

namespace peft::cpu {

/// Of an adapter, as src/kernels/cuda/common/dropout.h has it.
struct MaskNames {
  uint32_t key[2] = {0, 0};
  uint32_t limit = 0;  ///< draws of 16 bits below it are dropped; 0: none
  uint32_t step = 0;
  float scale = 1.0F;
};

}  // namespace peft::cpu
