#pragma once
/// Numbers in memory. Private to src/kernels.

namespace peft::cpu {

enum class Element { f32, f64, bf16, f16 };

}  // namespace peft::cpu
