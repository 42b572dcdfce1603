#pragma once
/// Which instance serves which shape. The instances are compiled in inst_*.cu.

#include "src/kernels/cuda/common/rows.cuh"
#include "src/kernels/cuda/packed_embedding/api.h"

namespace peft::cuda {

template <class T, int Threads>
int packed_embedding_forward_rows(const PackedEmbedding& embedding, void* y, void* stream);
template <class T, int Threads>
int prompt_gradient_rows(const PackedEmbedding& embedding, const PromptGradient& gradient, void* stream);

inline int launch_packed_embedding_forward(const PackedEmbedding& e, void* y, Element type, void* stream) {
  if (e.row_count == 0) return 0;
  if (e.columns % kChunk != 0 || e.columns > kBlockColumns) return kInvalidValue;
  return with_element(type, [&](auto element) {
    using T = typename decltype(element)::type;
    return e.columns <= kWarpColumns ? packed_embedding_forward_rows<T, kWarp>(e, y, stream)
                                     : packed_embedding_forward_rows<T, kRowBlock>(e, y, stream);
  });
}

inline int launch_packed_embedding_backward(const PackedEmbedding& e, const PromptGradient& gradient, Element type,
                                            void* stream) {
  if (gradient.sources == 0 || gradient.prompt_rows == 0) return 0;
  if (e.columns % kChunk != 0 || e.columns > kBlockColumns) return kInvalidValue;
  return with_element(type, [&](auto element) {
    using T = typename decltype(element)::type;
    return e.columns <= kWarpColumns ? prompt_gradient_rows<T, kWarp>(e, gradient, stream)
                                     : prompt_gradient_rows<T, kRowBlock>(e, gradient, stream);
  });
}

}  // namespace peft::cuda
