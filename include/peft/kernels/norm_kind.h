#pragma once
/// Apart from norm.h, which includes tensors.

namespace peft {

enum class NormKind { layer_norm, rms_norm };

}  // namespace peft
