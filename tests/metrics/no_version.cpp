#include "src/apps/version.h"

namespace peft {

std::string version() { return "without LibTorch"; }

}  // namespace peft
