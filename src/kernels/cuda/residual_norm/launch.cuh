#pragma once
/// Which instance serves which shape. The instances are compiled in inst_*.cu.

#include "src/kernels/cuda/common/rows.cuh"
#include "src/kernels/cuda/residual_norm/api.h"

namespace peft::cuda {

template <class T, int Threads>
int residual_norm_forward_rows(const ResidualNormForward& arguments, void* stream);
template <class T, int Threads>
int residual_norm_backward_rows(const ResidualNormBackward& arguments, void* stream);

inline int launch_residual_norm_forward(const ResidualNormForward& a, Element type, void* stream) {
  if (a.rows == 0) return 0;
  if (a.columns % kChunk != 0 || a.columns > kBlockColumns) return kInvalidValue;
  return with_element(type, [&](auto element) {
    using T = typename decltype(element)::type;
    return a.columns <= kWarpColumns ? residual_norm_forward_rows<T, kWarp>(a, stream)
                                     : residual_norm_forward_rows<T, kRowBlock>(a, stream);
  });
}

inline int launch_residual_norm_backward(const ResidualNormBackward& a, Element type, void* stream) {
  if (a.rows == 0) return 0;
  if (a.columns % kChunk != 0 || a.columns > kBlockColumns) return kInvalidValue;
  return with_element(type, [&](auto element) {
    using T = typename decltype(element)::type;
    return a.columns <= kWarpColumns ? residual_norm_backward_rows<T, kWarp>(a, stream)
                                     : residual_norm_backward_rows<T, kRowBlock>(a, stream);
  });
}

}  // namespace peft::cuda
