#include "src/apps/version.h"

#include <fmt/format.h>
#include <torch/headeronly/version.h>

#include <string_view>

#include "peft_revision.h"  // of the build folder: cmake/write_revision.cmake

namespace peft {

std::string version() {
  constexpr std::string_view revision = PEFT_REVISION;
  return fmt::format("{}{}, LibTorch {}", PEFT_VERSION, revision.empty() ? "" : fmt::format(" (revision {})", revision),
                     TORCH_VERSION);
}

}  // namespace peft
