#pragma once
/// ntk_pack: [Z | den | 0] of every head in 16 bits, in the order of rows that the kernels read (api.h).
///
/// A thread writes 8 values. 4 M D bytes in, 2 M (D + 8) out a head: a few microseconds at most, once a step. No shared memory.

#include "src/kernels/cuda/common/device.cuh"
#include "src/kernels/cuda/ntk_attention/api.h"

namespace peft::cuda {

constexpr int kNtkPackThreads = 128;

template <class T>
__global__ void __launch_bounds__(kNtkPackThreads) ntk_pack_kernel(NtkPack args) {
  const int width = args.shape.width, rows = ntk_state_rows(args.shape.map, width), pieces = width / 8 + 1;
  const int i = static_cast<int>(blockIdx.x) * kNtkPackThreads + static_cast<int>(threadIdx.x);
  if (i >= rows * pieces) return;
  const int row = i / pieces, column = 8 * (i % pieces);
  const int feature =
      args.shape.map == StateMap::elu ? row : (row + 1) % rows;  // taylor1's constant, feature 0, is last
  const int64_t at = static_cast<int64_t>(blockIdx.y) * rows + feature;
  float x[8] = {};
  if (column < width) {
    const auto* z = reinterpret_cast<const float4*>(args.z + at * width + column);
    const float4 low = z[0], high = z[1];
    x[0] = low.x, x[1] = low.y, x[2] = low.z, x[3] = low.w;
    x[4] = high.x, x[5] = high.y, x[6] = high.z, x[7] = high.w;
  } else {
    x[0] = args.den[at];
  }
  auto* packed = static_cast<T*>(args.packed) + (static_cast<int64_t>(blockIdx.y) * rows + row) * (width + 8) + column;
  *reinterpret_cast<uint4*>(packed) = uint4{pack_floats<T>(x[0], x[1]), pack_floats<T>(x[2], x[3]),
                                            pack_floats<T>(x[4], x[5]), pack_floats<T>(x[6], x[7])};
}

template <class T>
int launch_ntk_pack(const NtkPack& args, void* stream) {
  const NtkShape& shape = args.shape;
  const int pieces = ntk_state_rows(shape.map, shape.width) * (shape.width / 8 + 1);
  const dim3 grid{static_cast<unsigned>((pieces + kNtkPackThreads - 1) / kNtkPackThreads),
                  static_cast<unsigned>(shape.groups * shape.state_heads), 1};
  if (grid.y == 0) return 0;
  return launch(ntk_pack_kernel<T>, grid, dim3{kNtkPackThreads, 1, 1}, 0, stream, args);
}

}  // namespace peft::cuda
