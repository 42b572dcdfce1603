#pragma once
/// residual_norm backward: formula and layouts in api.h.
///
/// The same rows to threads as forward.cuh. dy and sum pass once in, dx once out (3 C elements a row); with a residual gradient one more
/// in, with dropout one more out. gamma and beta are frozen: no sums over rows.
/// Shared memory: none for warps; 24 floats for a block, the warps' parts of three sums, written once: one barrier.

#include "src/kernels/cuda/common/row_norm.cuh"
#include "src/kernels/cuda/residual_norm/api.h"

namespace peft::cuda {

template <class T, int Threads, int Chunks>
__global__ void __launch_bounds__(group_block<Threads>()) residual_norm_backward_kernel(ResidualNormBackward a) {
  const int64_t row = group_index<Threads>();
  if (row >= a.rows) return;
  const int64_t first = row * a.columns;
  const float mean = a.norm.kind == NormKind::layer_norm ? a.mean[row] : 0.0F, rstd = a.rstd[row];
  float g[Chunks][kChunk] = {}, d[Chunks][kChunk] = {};
  for (int i = 0; i < Chunks; ++i) {
    const int column = chunk_column<Threads>(i);
    if (column >= a.columns) continue;
    load_chunk(static_cast<const T*>(a.dy) + first + column, g[i]);
    load_chunk(static_cast<const T*>(a.sum) + first + column, d[i]);
    for (int j = 0; j < kChunk; ++j) d[i][j] -= mean;
  }
  scale_by_gamma<T, Threads>(g, a.columns, a.norm);
  norm_gradient_row<Threads>(g, d, a.columns, a.norm.kind, rstd, rstd, shared_memory<float>());
  for (int i = 0; a.dresidual != nullptr && i < Chunks;
       ++i) {  // before the first write, which might go to the same memory
    const int column = chunk_column<Threads>(i);
    if (column >= a.columns) continue;
    float residual[kChunk];
    load_chunk(static_cast<const T*>(a.dresidual) + first + column, residual);
    for (int j = 0; j < kChunk; ++j) g[i][j] += residual[j];
  }
  const RowMask mask(a.dbranch != nullptr ? a.dropout : NamedDropout{}, row);
  for (int i = 0; i < Chunks; ++i) {
    const int column = chunk_column<Threads>(i);
    if (column >= a.columns) continue;
    store_chunk(static_cast<T*>(a.dx) + first + column, g[i]);
    if (a.dbranch == nullptr) continue;
    const MaskChunk keep = mask.chunk(column / kChunk);
    for (int j = 0; j < kChunk; ++j) g[i][j] = keep.apply(j, g[i][j]);
    store_chunk(static_cast<T*>(a.dbranch) + first + column, g[i]);
  }
}

template <class T, int Threads>
int residual_norm_backward_rows(const ResidualNormBackward& a, void* stream) {
  return with_chunks<Threads>(a.columns, [&](auto chunks) {
    return launch(residual_norm_backward_kernel<T, Threads, decltype(chunks)::value>, group_grid<Threads>(a.rows),
                  dim3{group_block<Threads>(), 1, 1}, norm_gradient_floats<Threads>() * sizeof(float), stream, a);
  });
}

}  // namespace peft::cuda
