#pragma once
/// From the arguments of api.h to an instance: by type and by the rank rounded up to 16, 32, 64 or 128.

#include <cstdint>
#include <initializer_list>

#include "src/kernels/cuda/common/device.cuh"
#include "src/kernels/cuda/grouped_matmul/instances.h"

namespace peft::cuda {

constexpr int kInvalidValue = 1;  ///< cudaErrorInvalidValue

/// use(GroupedKernels<T, Rank>()) of the smallest instance that holds the rank.
template <class T, class Use>
int with_rank(int rank, const Use& use) {
  if (rank <= 16) return use(GroupedKernels<T, 16>());
  if (rank <= 32) return use(GroupedKernels<T, 32>());
  if (rank <= 64) return use(GroupedKernels<T, 64>());
  return use(GroupedKernels<T, kMaxRank>());
}
template <class Use>
int with_type_and_rank(ElementType type, int rank, const Use& use) {
  switch (type) {
    case ElementType::bf16:
      return with_rank<bf16>(rank, use);
    case ElementType::half:
      return with_rank<half>(rank, use);
    case ElementType::float32:
      return with_rank<float>(rank, use);
  }
  return kInvalidValue;
}

/// What 16-byte accesses need.
inline bool multiples_of_8(std::initializer_list<int64_t> sizes) {
  for (const int64_t size : sizes) {
    if (size % 8 != 0) return false;
  }
  return true;
}
inline bool aligned(std::initializer_list<const void*> pointers) {
  for (const void* pointer : pointers) {
    if (reinterpret_cast<std::uintptr_t>(pointer) % 16 != 0) return false;
  }
  return true;
}
inline bool valid_rank(int rank) { return rank >= 1 && rank <= kMaxRank; }

inline int launch_grouped_shrink(const GroupedShrink& p, void* stream) {
  if (!valid_rank(p.rank) || !multiples_of_8({p.wide, p.x_stride, p.h_stride}) || !aligned({p.x, p.weight, p.h}))
    return kInvalidValue;
  if (p.tile_count == 0) return 0;
  return with_type_and_rank(p.type, p.rank, [&](auto kernels) { return kernels.shrink(p, stream); });
}
inline int launch_grouped_expand(const GroupedExpand& p, void* stream) {
  if (!valid_rank(p.rank) || !multiples_of_8({p.wide, p.y_stride, p.h_stride}) || !aligned({p.h, p.weight, p.y}))
    return kInvalidValue;
  if (p.tile_count == 0) return 0;
  return with_type_and_rank(p.type, p.rank, [&](auto kernels) { return kernels.expand(p, stream); });
}
inline int launch_gradient_partials(const GroupedGradient& p, void* stream) {
  if (!valid_rank(p.rank) || !multiples_of_8({p.wide, p.x_stride, p.h_stride}) ||
      !aligned({p.x, p.h, p.gradient, p.partial}))
    return kInvalidValue;
  if (p.chunk_count == 0) return 0;
  return with_type_and_rank(p.type, p.rank, [&](auto kernels) { return kernels.gradient(p, stream); });
}

}  // namespace peft::cuda
