#pragma once
/// bias_activation: formula and layouts in api.h.
///
/// Tiles of common/tiles.cuh, no shared memory, no barriers. A thread reads all it needs before it writes, which makes writing in place
/// safe. Memory: forward 2 F elements a row, backward 3 F, 4 F with `y`.

#include "src/kernels/cuda/bias_activation/api.h"
#include "src/kernels/cuda/common/tiles.cuh"

namespace peft::cuda {

template <class T, Activation Kind>
__global__ void __launch_bounds__(kTileThreads) bias_activation_forward_kernel(BiasActivationForward a) {
  if (tile_column() >= a.columns) return;
  Packed<T> inputs[kTileRows] = {};
  load_tile(inputs, a.x, a.columns, a.rows);
  float bias[kChunk] = {};
  if (a.bias != nullptr) load_chunk(static_cast<const T*>(a.bias) + tile_column(), bias);
  PEFT_UNROLL
  for (int i = 0; i < kTileRows; ++i) {
    if (tile_row(i) >= a.rows) return;
    const MaskChunk keep = RowMask(a.dropout, tile_row(i)).chunk(tile_column() / kChunk);
    float x[kChunk];
    unpack_chunk(inputs[i], x);
    for (int j = 0; j < kChunk; ++j) x[j] = keep.apply(j, activate<Kind>(x[j] + bias[j]).value);
    store_tile_row<T>(a.y, a.columns, i, x);
  }
}

template <class T, Activation Kind>
__global__ void __launch_bounds__(kTileThreads) bias_activation_backward_kernel(BiasActivationBackward a) {
  if (tile_column() >= a.columns) return;
  Packed<T> gradients[kTileRows] = {}, inputs[kTileRows] = {};
  load_tile(gradients, a.dy, a.columns, a.rows);
  load_tile(inputs, a.x, a.columns, a.rows);
  float bias[kChunk] = {};
  if (a.bias != nullptr) load_chunk(static_cast<const T*>(a.bias) + tile_column(), bias);
  PEFT_UNROLL
  for (int i = 0; i < kTileRows; ++i) {
    if (tile_row(i) >= a.rows) return;
    const MaskChunk keep = RowMask(a.dropout, tile_row(i)).chunk(tile_column() / kChunk);
    float g[kChunk], x[kChunk];
    unpack_chunk(gradients[i], g);
    unpack_chunk(inputs[i], x);
    for (int j = 0; j < kChunk; ++j) {
      const ValueAndSlope act = activate<Kind>(x[j] + bias[j]);
      g[j] = keep.apply(j, g[j]) * act.slope;
      x[j] = keep.apply(j, act.value);
    }
    store_tile_row<T>(a.dx, a.columns, i, g);
    if (a.y != nullptr) store_tile_row<T>(a.y, a.columns, i, x);
  }
}

template <class T, Activation Kind>
int bias_activation_forward_tiles(const BiasActivationForward& a, void* stream) {
  return launch(bias_activation_forward_kernel<T, Kind>, tile_grid(a.rows, a.columns), dim3{kTileThreads, 1, 1}, 0,
                stream, a);
}
template <class T, Activation Kind>
int bias_activation_backward_tiles(const BiasActivationBackward& a, void* stream) {
  return launch(bias_activation_backward_kernel<T, Kind>, tile_grid(a.rows, a.columns), dim3{kTileThreads, 1, 1}, 0,
                stream, a);
}

}  // namespace peft::cuda
