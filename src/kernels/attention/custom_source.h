#pragma once
/// Sources of attention by our own kernels; null where a kernel has no instance for the call. Private to src/kernels.

#include "src/kernels/attention/source.h"

namespace peft {

std::unique_ptr<SourceRoute> custom_state(const AttentionArgs& args, const at::Tensor& q);     ///< ntk_attention
std::unique_ptr<SourceRoute> custom_prefix(const AttentionArgs& args, const at::Tensor& q);    ///< prefix_attention
std::unique_ptr<SourceRoute> custom_assembly(const AttentionArgs& args, const at::Tensor& q);  ///< kv_assembly

}  // namespace peft
