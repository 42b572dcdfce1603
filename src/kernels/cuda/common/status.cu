#include "src/kernels/cuda/common/status.h"

namespace peft::cuda {

bool kernels_are_emulated() { return false; }

}  // namespace peft::cuda
