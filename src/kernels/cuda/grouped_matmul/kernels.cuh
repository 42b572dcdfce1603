#pragma once
/// The definitions behind instances.h, for the files that instantiate them.

#include "src/kernels/cuda/grouped_matmul/expand.cuh"
#include "src/kernels/cuda/grouped_matmul/gradient.cuh"
#include "src/kernels/cuda/grouped_matmul/instances.h"
#include "src/kernels/cuda/grouped_matmul/shrink.cuh"

namespace peft::cuda {

template <class T, int Rank>
int GroupedKernels<T, Rank>::shrink(const GroupedShrink& product, void* stream) {
  return launch_shrink<T, Rank>(product, stream);
}
template <class T, int Rank>
int GroupedKernels<T, Rank>::expand(const GroupedExpand& product, void* stream) {
  return launch_expand<T, Rank>(product, stream);
}
template <class T, int Rank>
int GroupedKernels<T, Rank>::gradient(const GroupedGradient& product, void* stream) {
  return launch_gradient<T, Rank>(product, stream);
}

}  // namespace peft::cuda
