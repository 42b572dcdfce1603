#pragma once
/// From the type and head width of a call to the instance that serves it.

#include "src/kernels/cuda/common/device.cuh"
#include "src/kernels/cuda/common/element.h"
#include "src/kernels/cuda/common/status.h"

namespace peft::cuda {

template <class T, int kWidthOf>
struct HeadInstance {
  using Type = T;
  static constexpr int kWidth = kWidthOf;
};

template <int kWidth, class Run>
int with_head_type(Element type, const Run& run) {
  if (type == Element::bfloat16) return run(HeadInstance<bf16, kWidth>{});
  if (type == Element::float16) return run(HeadInstance<half, kWidth>{});
  return kNoInstance;
}

/// run(HeadInstance) of a kernel with instances for 16-bit types and head widths 32, 64, 80, 96 and 128.
template <class Run>
int with_head(Element type, int width, const Run& run) {
  switch (width) {
    case 32:
      return with_head_type<32>(type, run);
    case 64:
      return with_head_type<64>(type, run);
    case 80:
      return with_head_type<80>(type, run);
    case 96:
      return with_head_type<96>(type, run);
    case 128:
      return with_head_type<128>(type, run);
    default:
      return kNoInstance;
  }
}

}  // namespace peft::cuda
