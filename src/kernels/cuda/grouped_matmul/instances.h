#pragma once
/// The instances, compiled one per file: inst_<type>_<Rank>.cu.

#include "src/kernels/cuda/grouped_matmul/api.h"

namespace peft::cuda {

/// For ranks up to Rank: 16, 32, 64 or 128. Defined in kernels.cuh.
template <class T, int Rank>
struct GroupedKernels {
  static int shrink(const GroupedShrink& product, void* stream);
  static int expand(const GroupedExpand& product, void* stream);
  /// The first of the two launches: the partial sums of chunks.
  static int gradient(const GroupedGradient& product, void* stream);
};

}  // namespace peft::cuda
