#pragma once
/// Type of the elements behind an untyped pointer of an api.h.

#include <cstdint>

namespace peft::cuda {

enum class Element : int32_t { float32, bfloat16, float16 };

}  // namespace peft::cuda
