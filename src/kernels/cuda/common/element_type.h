#pragma once
/// Which of the three element types a kernel with untyped pointers gets.

#include <cstdint>

namespace peft::cuda {

enum class ElementType : int32_t { bf16, half, float32 };

constexpr int64_t element_bytes(ElementType type) { return type == ElementType::float32 ? 4 : 2; }

}  // namespace peft::cuda
