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
  return with_row_instance(a.columns, type, [&](auto element, auto threads) {
    return residual_norm_forward_rows<typename decltype(element)::type, decltype(threads)::value>(a, stream);
  });
}

inline int launch_residual_norm_backward(const ResidualNormBackward& a, Element type, void* stream) {
  if (a.rows == 0) return 0;
  return with_row_instance(a.columns, type, [&](auto element, auto threads) {
    return residual_norm_backward_rows<typename decltype(element)::type, decltype(threads)::value>(a, stream);
  });
}

}  // namespace peft::cuda
