/// What a program without PEFT_CUDA links in place of the kernels.

#include "src/kernels/cuda/bank_adamw/api.h"
#include "src/kernels/cuda/bias_activation/api.h"
#include "src/kernels/cuda/common/status.h"
#include "src/kernels/cuda/gated_activation/api.h"
#include "src/kernels/cuda/grouped_matmul/api.h"
#include "src/kernels/cuda/kv_assembly/api.h"
#include "src/kernels/cuda/ntk_attention/api.h"
#include "src/kernels/cuda/packed_attention/api.h"
#include "src/kernels/cuda/packed_embedding/api.h"
#include "src/kernels/cuda/prefix_attention/api.h"
#include "src/kernels/cuda/residual_norm/api.h"
#include "src/kernels/cuda/small_xent/api.h"

namespace peft::cuda {

bool kernels_are_emulated() { return false; }

int bank_adamw(const BankAdamW&, void*) { return kBuiltWithoutCuda; }
int bias_activation_forward(const BiasActivationForward&, Activation, Element, void*) { return kBuiltWithoutCuda; }
int bias_activation_backward(const BiasActivationBackward&, Activation, Element, void*) { return kBuiltWithoutCuda; }
int gated_activation_forward(const GatedActivationForward&, Activation, Element, void*) { return kBuiltWithoutCuda; }
int gated_activation_backward(const GatedActivationBackward&, Activation, Element, void*) { return kBuiltWithoutCuda; }
int grouped_shrink(const GroupedShrink&, void*) { return kBuiltWithoutCuda; }
int grouped_expand(const GroupedExpand&, void*) { return kBuiltWithoutCuda; }
int grouped_gradient(const GroupedGradient&, void*) { return kBuiltWithoutCuda; }
int row_dropout(const RowDropout&, void*) { return kBuiltWithoutCuda; }
int kv_assembly(const KvAssembly&, void*) { return kBuiltWithoutCuda; }
int kv_assembly_backward(const KvAssemblyBackward&, void*) { return kBuiltWithoutCuda; }
int ntk_pack(const NtkPack&, void*) { return kBuiltWithoutCuda; }
int ntk_attention_forward(const NtkForward&, void*) { return kBuiltWithoutCuda; }
int ntk_attention_backward(const NtkBackward&, void*) { return kBuiltWithoutCuda; }
int packed_attention_forward(const PackedForward&, void*) { return kBuiltWithoutCuda; }
int packed_attention_backward(const PackedBackward&, void*) { return kBuiltWithoutCuda; }
int packed_embedding_forward(const PackedEmbedding&, void*, Element, void*) { return kBuiltWithoutCuda; }
int packed_embedding_token_gradient(const PackedEmbedding&, const void*, void*, Element, void*) {
  return kBuiltWithoutCuda;
}
int packed_embedding_backward(const PackedEmbedding&, const PromptGradient&, Element, void*) {
  return kBuiltWithoutCuda;
}
int prefix_attention_forward(const PrefixForward&, void*) { return kBuiltWithoutCuda; }
int prefix_attention_backward(const PrefixBackward&, void*) { return kBuiltWithoutCuda; }
int residual_norm_forward(const ResidualNormForward&, Element, void*) { return kBuiltWithoutCuda; }
int residual_norm_backward(const ResidualNormBackward&, Element, void*) { return kBuiltWithoutCuda; }
int small_xent(const SmallXent&, Element, void*) { return kBuiltWithoutCuda; }

}  // namespace peft::cuda
