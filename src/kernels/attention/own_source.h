#pragma once
/// Sources of attention by our own kernels; null where a kernel has no instance for the call. Private to src/kernels.

#include "src/kernels/attention/source.h"

namespace peft {

std::unique_ptr<SourceRoute> own_state(const AttentionArgs& args, const at::Tensor& q);     ///< ntk_attention
std::unique_ptr<SourceRoute> own_prefix(const AttentionArgs& args, const at::Tensor& q);    ///< prefix_attention
std::unique_ptr<SourceRoute> own_assembly(const AttentionArgs& args, const at::Tensor& q);  ///< kv_assembly

}  // namespace peft
