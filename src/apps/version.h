#pragma once

#include <string>

namespace peft {

/// "0.1.0 (revision 0123456789ab), LibTorch 2.11.0": the revision where the program was built from a checkout.
std::string version();

}  // namespace peft
