#pragma once
/// Which instance serves which shape. The instances are compiled in inst_*.cu.

#include "src/kernels/cuda/common/rows.cuh"
#include "src/kernels/cuda/packed_embedding/api.h"

namespace peft::cuda {

template <class T, int Threads>
int packed_embedding_forward_rows(const PackedEmbedding& embedding, void* y, void* stream);
template <class T, int Threads>
int prompt_gradient_rows(const PackedEmbedding& embedding, const PromptGradient& gradient, void* stream);
template <class T, int Threads>
int token_gradient_rows(const PackedEmbedding& embedding, const void* dy, void* dx, void* stream);

inline int launch_packed_embedding_forward(const PackedEmbedding& e, void* y, Element type, void* stream) {
  if (e.row_count == 0) return 0;
  return with_row_instance(e.columns, type, [&](auto element, auto threads) {
    return packed_embedding_forward_rows<typename decltype(element)::type, decltype(threads)::value>(e, y, stream);
  });
}

inline int launch_packed_embedding_backward(const PackedEmbedding& e, const PromptGradient& gradient, Element type,
                                            void* stream) {
  if (gradient.sources == 0 || gradient.prompt_rows == 0) return 0;
  return with_row_instance(e.columns, type, [&](auto element, auto threads) {
    return prompt_gradient_rows<typename decltype(element)::type, decltype(threads)::value>(e, gradient, stream);
  });
}

inline int launch_packed_embedding_token_gradient(const PackedEmbedding& e, const void* dy, void* dx, Element type,
                                                  void* stream) {
  if (e.row_count == 0) return 0;
  return with_row_instance(e.columns, type, [&](auto element, auto threads) {
    return token_gradient_rows<typename decltype(element)::type, decltype(threads)::value>(e, dy, dx, stream);
  });
}

}  // namespace peft::cuda
