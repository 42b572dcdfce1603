#include "peft/base/memory.h"

#include <sys/resource.h>

#include <fstream>
#include <string>

namespace peft {

int64_t peak_memory_bytes() {
  constexpr int64_t kKibibyte = 1024;
  std::ifstream status("/proc/self/status");
  for (std::string key; status >> key;) {
    int64_t kibibytes = 0;
    if (key == "VmHWM:" && status >> kibibytes) return kibibytes * kKibibyte;
  }
  rusage usage{};  // without /proc
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * kKibibyte;
}

}  // namespace peft
