#pragma once
/// gated_activation: formula and layouts in api.h.
///
/// Tiles of common/tiles.cuh, no shared memory, no barriers. A thread reads all it needs before it writes, which makes writing in place
/// safe. Memory: forward 3 F elements a row (two in, one out), backward 5 F (three in, two out), 6 F with `out`.

#include "src/kernels/cuda/common/tiles.cuh"
#include "src/kernels/cuda/gated_activation/api.h"

namespace peft::cuda {

template <class T, Activation Kind>
__global__ void __launch_bounds__(kTileThreads) gated_activation_forward_kernel(GatedActivationForward a) {
  if (tile_column() >= a.columns) return;
  Packed<T> gates[kTileRows] = {}, ups[kTileRows] = {};
  load_tile(gates, a.gate, a.stride, a.rows);
  load_tile(ups, a.up, a.stride, a.rows);
  PEFT_UNROLL
  for (int i = 0; i < kTileRows; ++i) {
    if (tile_row(i) >= a.rows) return;
    const MaskChunk keep = RowMask(a.dropout, tile_row(i)).chunk(tile_column() / kChunk);
    float gate[kChunk], up[kChunk];
    unpack_chunk(gates[i], gate);
    unpack_chunk(ups[i], up);
    for (int j = 0; j < kChunk; ++j) up[j] = keep.apply(j, activate<Kind>(gate[j]).value * up[j]);
    store_tile_row<T>(a.out, a.columns, i, up);
  }
}

template <class T, Activation Kind>
__global__ void __launch_bounds__(kTileThreads) gated_activation_backward_kernel(GatedActivationBackward a) {
  if (tile_column() >= a.columns) return;
  Packed<T> gradients[kTileRows] = {}, gates[kTileRows] = {}, ups[kTileRows] = {};
  load_tile(gradients, a.dout, a.columns, a.rows);
  load_tile(gates, a.gate, a.stride, a.rows);
  load_tile(ups, a.up, a.stride, a.rows);
  PEFT_UNROLL
  for (int i = 0; i < kTileRows; ++i) {
    if (tile_row(i) >= a.rows) return;
    const MaskChunk keep = RowMask(a.dropout, tile_row(i)).chunk(tile_column() / kChunk);
    float g[kChunk], gate[kChunk], up[kChunk], out[kChunk];
    unpack_chunk(gradients[i], g);
    unpack_chunk(gates[i], gate);
    unpack_chunk(ups[i], up);
    for (int j = 0; j < kChunk; ++j) {
      const ValueAndSlope act = activate<Kind>(gate[j]);
      const float dropped = keep.apply(j, g[j]);
      out[j] = keep.apply(j, act.value * up[j]);
      gate[j] = dropped * up[j] * act.slope;
      up[j] = dropped * act.value;
    }
    store_tile_row<T>(a.gate, a.stride, i, gate);
    store_tile_row<T>(a.up, a.stride, i, up);
    if (a.out != nullptr) store_tile_row<T>(a.out, a.columns, i, out);
  }
}

template <class T, Activation Kind>
int gated_activation_forward_tiles(const GatedActivationForward& a, void* stream) {
  return launch(gated_activation_forward_kernel<T, Kind>, tile_grid(a.rows, a.columns), dim3{kTileThreads, 1, 1}, 0,
                stream, a);
}
template <class T, Activation Kind>
int gated_activation_backward_tiles(const GatedActivationBackward& a, void* stream) {
  return launch(gated_activation_backward_kernel<T, Kind>, tile_grid(a.rows, a.columns), dim3{kTileThreads, 1, 1}, 0,
                stream, a);
}

}  // namespace peft::cuda
