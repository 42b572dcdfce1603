#pragma once
/// Attention with its prefix in one pass by our own kernel (packed_attention); a state is merged behind it. Private to src/kernels.

#include "peft/kernels/attention.h"

namespace peft {

/// For the situations of select.h that AttentionBackend::packed serves.
at::Tensor attention_packed(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionArgs& args);

}  // namespace peft
