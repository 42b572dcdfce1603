#pragma once
/// What kernels that merge a part into softmax attention share: rows that get nothing merged, and the sum of partial gradients.

#include "src/kernels/cuda/common/tile.cuh"

namespace peft::cuda {

constexpr float kLog2E = 1.44269504088896340736F;

/// O = O_s and L = L_s for an item's rows. All threads of the block.
template <class T, int kWidth, int kThreads>
__device__ __forceinline__ void keep_rows(const HeadRows& self, const HeadRows& out, const float* self_lse, float* lse,
                                          int64_t rows, const RowItem& item, int head) {
  constexpr int kPieces = kWidth / 8;
  const int thread = static_cast<int>(threadIdx.x);
  const T* from = rows_of<const T>(self, item.row0, head);
  T* to = rows_of<T>(out, item.row0, head);
  for (int i = thread; i < item.rows * kPieces; i += kThreads) {
    const int64_t row = i / kPieces, column = 8 * (i % kPieces);
    *reinterpret_cast<uint4*>(to + row * out.row_stride + column) =
        *reinterpret_cast<const uint4*>(from + row * self.row_stride + column);
  }
  for (int i = thread; i < item.rows; i += kThreads) {
    const int64_t at = head * rows + item.row0 + i;
    lse[at] = self_lse[at];
  }
}

/// Four numbers of the gradient of the group and shared head blockIdx.y: the sum of `partial` [chunks,heads,floats] over the group's chunks
/// and the query heads that share the head. Four sums at a time, so that loads do not wait for each other, in a fixed order.
__device__ __forceinline__ float4 sum_partials(const float* partial, int64_t floats, const int32_t* first_chunk,
                                               int heads, int shared_heads) {
  const int group = static_cast<int>(blockIdx.y) / shared_heads, share = heads / shared_heads,
            head = static_cast<int>(blockIdx.y) % shared_heads * share;
  const int begin = first_chunk[group], count = (first_chunk[group + 1] - begin) * share;
  float4 sums[4] = {};
  for (int i = 0; i < count; i += 4) {
    PEFT_UNROLL
    for (int j = 0; j < 4; ++j) {
      if (i + j >= count) continue;
      const int64_t term = static_cast<int64_t>(begin + (i + j) / share) * heads + head + (i + j) % share;
      const float4 x = *reinterpret_cast<const float4*>(partial + term * floats);
      sums[j].x += x.x;
      sums[j].y += x.y;
      sums[j].z += x.z;
      sums[j].w += x.w;
    }
  }
  return make_float4(
      (sums[0].x + sums[1].x) + (sums[2].x + sums[3].x), (sums[0].y + sums[1].y) + (sums[2].y + sums[3].y),
      (sums[0].z + sums[1].z) + (sums[2].z + sums[3].z), (sums[0].w + sums[1].w) + (sums[2].w + sums[3].w));
}

}  // namespace peft::cuda
