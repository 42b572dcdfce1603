#pragma once

#include <cstdint>

namespace peft {

/// Most memory that this process has held at once (VmHWM). getrusage() would count what the parent of a process held, too.
int64_t peak_memory_bytes();

}  // namespace peft
