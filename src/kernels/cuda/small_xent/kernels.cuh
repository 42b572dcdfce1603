#pragma once
/// small_xent: formula and layouts in api.h.
///
/// One warp a selected row, four a block. Lane l has classes l, l + 32, ... in registers: neighbouring lanes read neighbouring classes, and
/// no alignment of rows is asked for. A row is read before it is written. No shared memory, no barriers; three warp reductions.
/// Memory: 2 N elements a row.

#include "src/kernels/cuda/common/rows.cuh"
#include "src/kernels/cuda/small_xent/api.h"

namespace peft::cuda {

template <class T, int Values>
__global__ void __launch_bounds__(group_block<kWarp>()) small_xent_kernel(SmallXent a) {
  const int64_t row = group_index<kWarp>();
  if (row >= a.rows) return;
  const int lane = group_thread<kWarp>();
  T* gradient = a.dlogits != nullptr ? static_cast<T*>(a.dlogits) + row * a.dlogits_stride : nullptr;
  const float weight = a.weight != nullptr ? a.weight[row] : 1.0F;
  if (weight == 0.0F) {
    if (lane == 0) a.loss[row] = 0.0F;
    for (int j = lane; gradient != nullptr && j < a.classes; j += kWarp) gradient[j] = from_float<T>(0.0F);
    return;
  }
  const T* logits = static_cast<const T*>(a.logits) + (a.row != nullptr ? a.row[row] : row) * a.logits_stride;
  const int label = a.label[row];
  float x[Values], largest = -INFINITY, chosen = -INFINITY;  // x: the label's own stays out
  for (int i = 0; i < Values; ++i) {
    const int j = lane + i * kWarp;
    x[i] = j < a.classes ? to_float(logits[a.column != nullptr ? a.column[j] : j]) : -INFINITY;
    if (j == label) {
      chosen = x[i];
      x[i] = -INFINITY;
    }
    largest = fmaxf(largest, x[i]);
  }
  chosen = __shfl_sync(kAllLanes, chosen, label & (kWarp - 1));  // NaN stays NaN
  largest = fmaxf(warp_max(largest), chosen);
  float others = 0.0F;
  for (int i = 0; i < Values; ++i) {
    x[i] = expf(x[i] - largest);
    others += x[i];
  }
  others = warp_sum(others);
  const float own = expf(chosen - largest), sum = own + others;
  const bool valid = label >= 0 && label < a.classes;
  const float scale = valid ? weight / sum : NAN;
  if (lane == 0) a.loss[row] = valid ? weight * (own == 1.0F ? log1pf(others) : largest - chosen + logf(sum)) : NAN;
  if (gradient == nullptr) return;
  for (int i = 0; i < Values; ++i) {
    const int j = lane + i * kWarp;
    if (j < a.classes) gradient[j] = from_float<T>(scale * x[i]);
  }
  if (valid && lane == label % kWarp) gradient[label] = from_float<T>(-scale * others);  // over the 0 it wrote itself
}

template <class T>
int small_xent_rows(const SmallXent& a, void* stream) {
  const dim3 grid = group_grid<kWarp>(a.rows), block{group_block<kWarp>(), 1, 1};
  if (a.classes <= kWarp) return launch(small_xent_kernel<T, 1>, grid, block, 0, stream, a);
  if (a.classes <= 8 * kWarp) return launch(small_xent_kernel<T, 8>, grid, block, 0, stream, a);
  return launch(small_xent_kernel<T, kMaxClasses / kWarp>, grid, block, 0, stream, a);
}

inline int launch_small_xent(const SmallXent& a, Element type, void* stream) {
  if (a.rows == 0) return 0;
  if (a.classes < 1 || a.classes > kMaxClasses) return kInvalidValue;
  return with_element(type, [&](auto element) { return small_xent_rows<typename decltype(element)::type>(a, stream); });
}

}  // namespace peft::cuda
