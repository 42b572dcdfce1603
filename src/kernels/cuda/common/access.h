#pragma once
/// What the launching side checks before kernels with 16-byte accesses run.

#include <cstdint>
#include <initializer_list>

namespace peft::cuda {

constexpr int kRefused = 1;  ///< cudaErrorInvalidValue

inline bool multiples_of_8(std::initializer_list<int64_t> sizes) {
  for (const int64_t size : sizes) {
    if (size % 8 != 0) return false;
  }
  return true;
}
/// To 16 bytes; null is.
inline bool aligned(std::initializer_list<const void*> pointers) {
  for (const void* pointer : pointers) {
    if (reinterpret_cast<std::uintptr_t>(pointer) % 16 != 0) return false;
  }
  return true;
}

}  // namespace peft::cuda
