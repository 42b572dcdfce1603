#pragma once
/// The second launch of gradient: dW_k [+]= scale_k (sum over the chunks of group k of `partial`); formula and layouts in api.h.
///
/// Every thread of 128 adds four neighbouring elements over the chunks of a group: four interleaved sums, then a tree, always in this order,
/// which depends on the number of the group's chunks alone. An empty group gives zeros. No shared memory, no barrier.
/// Bytes from memory: 4 wide rank (chunks + groups).

#include "src/kernels/cuda/grouped_matmul/dropout.cuh"

namespace peft::cuda {

constexpr int kSumThreads = 128;

template <bool Accumulate>
__global__ void __launch_bounds__(kSumThreads) gradient_sum_kernel(GroupedGradient p) {
  const int group = static_cast<int>(blockIdx.y), elements = p.wide * p.rank,
            element = 4 * (static_cast<int>(blockIdx.x) * kSumThreads + static_cast<int>(threadIdx.x));
  if (element >= elements) return;
  const int first = p.first_chunk[group], last = p.first_chunk[group + 1];
  float4 sums[4];
  for (float4& sum : sums) sum = make_float4(0.0F, 0.0F, 0.0F, 0.0F);
  const auto add = [](float4& sum, const float4& x) {
    sum.x += x.x;
    sum.y += x.y;
    sum.z += x.z;
    sum.w += x.w;
  };
  for (int chunk = first; chunk < last; chunk += 4) {
    for (int i = 0; i < 4; ++i) {
      if (chunk + i < last)
        add(sums[i],
            *reinterpret_cast<const float4*>(p.partial + static_cast<int64_t>(chunk + i) * elements + element));
    }
  }
  add(sums[0], sums[1]);
  add(sums[2], sums[3]);
  add(sums[0], sums[2]);
  const float factor = group_factor(p.scale, p.dropout, group);
  auto* gradient = reinterpret_cast<float4*>(p.gradient + static_cast<int64_t>(group) * elements + element);
  float4 result = make_float4(factor * sums[0].x, factor * sums[0].y, factor * sums[0].z, factor * sums[0].w);
  if (Accumulate) add(result, *gradient);
  *gradient = result;
}

inline int launch_gradient_sum(const GroupedGradient& product, void* stream) {
  const int pieces = product.wide * product.rank / 4;
  const dim3 grid{static_cast<unsigned>((pieces + kSumThreads - 1) / kSumThreads),
                  static_cast<unsigned>(product.groups), 1};
  const dim3 block{kSumThreads, 1, 1};
  return product.accumulate ? launch(gradient_sum_kernel<true>, grid, block, 0, stream, product)
                            : launch(gradient_sum_kernel<false>, grid, block, 0, stream, product);
}

}  // namespace peft::cuda
