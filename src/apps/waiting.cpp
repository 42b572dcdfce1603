#include "src/apps/waiting.h"

#include <unistd.h>

#include <cstdlib>

namespace peft {

void wait_passively(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) return;
  setenv("OMP_WAIT_POLICY", "PASSIVE", 1);
  execv("/proc/self/exe", argv);  // returns only when it failed: then the threads spin
}

}  // namespace peft
