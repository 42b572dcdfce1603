#pragma once
/// From the arguments of api.h to an instance: by type and by the rank rounded up to 16, 32, 64 or 128.

#include "src/kernels/cuda/common/access.h"
#include "src/kernels/cuda/common/device.cuh"
#include "src/kernels/cuda/grouped_matmul/instances.h"

namespace peft::cuda {

/// use(GroupedKernels<T, Rank>()) of the smallest instance that holds the rank.
template <class T, class Use>
int with_rank(int rank, const Use& use) {
  if (rank <= 16) return use(GroupedKernels<T, 16>());
  if (rank <= 32) return use(GroupedKernels<T, 32>());
  if (rank <= 64) return use(GroupedKernels<T, 64>());
  return use(GroupedKernels<T, kMaxRank>());
}
template <class Use>
int with_type_and_rank(Element type, int rank, const Use& use) {
  switch (type) {
    case Element::bfloat16:
      return with_rank<bf16>(rank, use);
    case Element::float16:
      return with_rank<half>(rank, use);
    case Element::float32:
      return with_rank<float>(rank, use);
  }
  return kRefused;
}

inline bool valid_rank(int rank) { return rank >= 1 && rank <= kMaxRank; }

inline int launch_grouped_shrink(const GroupedShrink& p, void* stream) {
  if (!valid_rank(p.rank) || !multiples_of_8({p.wide, p.x_stride, p.h_stride}) || !aligned({p.x, p.weight, p.h}))
    return kRefused;
  if (p.tile_count == 0) return 0;
  return with_type_and_rank(p.type, p.rank, [&](auto kernels) { return kernels.shrink(p, stream); });
}
inline int launch_grouped_expand(const GroupedExpand& p, void* stream) {
  if (!valid_rank(p.rank) || !multiples_of_8({p.wide, p.y_stride, p.h_stride}) || !aligned({p.h, p.weight, p.y}))
    return kRefused;
  if (p.tile_count == 0) return 0;
  return with_type_and_rank(p.type, p.rank, [&](auto kernels) { return kernels.expand(p, stream); });
}
inline int launch_gradient_partials(const GroupedGradient& p, void* stream) {
  if (!valid_rank(p.rank) || !multiples_of_8({p.wide, p.x_stride, p.h_stride}) ||
      !aligned({p.x, p.h, p.gradient, p.partial}))
    return kRefused;
  if (p.chunk_count == 0) return 0;
  return with_type_and_rank(p.type, p.rank, [&](auto kernels) { return kernels.gradient(p, stream); });
}

}  // namespace peft::cuda
