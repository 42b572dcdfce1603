#include "src/kernels/cuda/packed_embedding/backward.cuh"
#include "src/kernels/cuda/packed_embedding/forward.cuh"

namespace peft::cuda {

template int packed_embedding_forward_rows<bf16, kRowBlock>(const PackedEmbedding&, void*, void*);
template int prompt_gradient_rows<bf16, kRowBlock>(const PackedEmbedding&, const PromptGradient&, void*);
template int token_gradient_rows<bf16, kRowBlock>(const PackedEmbedding&, const void*, void*, void*);

}  // namespace peft::cuda
