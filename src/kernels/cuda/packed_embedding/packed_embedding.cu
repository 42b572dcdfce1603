#include "src/kernels/cuda/packed_embedding/launch.cuh"

namespace peft::cuda {

int packed_embedding_forward(const PackedEmbedding& embedding, void* y, Element type, void* stream) {
  return launch_packed_embedding_forward(embedding, y, type, stream);
}
int packed_embedding_backward(const PackedEmbedding& embedding, const PromptGradient& gradient, Element type,
                              void* stream) {
  return launch_packed_embedding_backward(embedding, gradient, type, stream);
}
int packed_embedding_token_gradient(const PackedEmbedding& embedding, const void* dy, void* dx, Element type,
                                    void* stream) {
  return launch_packed_embedding_token_gradient(embedding, dy, dx, type, stream);
}

}  // namespace peft::cuda
