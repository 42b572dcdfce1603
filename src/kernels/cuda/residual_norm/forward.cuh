#pragma once
/// residual_norm forward: formula and layouts in api.h.
///
/// One warp a row for C <= 1024 (four rows a block), one block of 256 threads a row above; a thread keeps up to 32 values in registers
/// from the first read to the last write. Memory: x, branch, sum and y pass once, 4 C elements a row. Eight columns are one 16-byte access
/// (two for float) and one Philox block.
/// Shared memory: none for warps; 17 floats for a block: [0] the pivot, [1, 9) and [9, 17) the warps' parts of two sums. Each is written
/// once, so three barriers do: after the pivot and after each sum's parts.

#include "src/kernels/cuda/common/row_norm.cuh"
#include "src/kernels/cuda/residual_norm/api.h"

namespace peft::cuda {

template <class T, int Threads, int Chunks>
__global__ void __launch_bounds__(group_block<Threads>()) residual_norm_forward_kernel(ResidualNormForward a) {
  const int64_t row = group_index<Threads>();
  if (row >= a.rows) return;
  const int64_t first = row * a.columns;
  const RowMask mask(a.branch != nullptr ? a.dropout : NamedDropout{}, row);
  float s[Chunks][kChunk] = {};
  Packed<T> branch[Chunks];
  for (int i = 0; i < Chunks; ++i) {  // all reads before the first write, which might go to the same memory
    const int column = chunk_column<Threads>(i);
    if (column >= a.columns) continue;
    load_chunk(static_cast<const T*>(a.x) + first + column, s[i]);
    if (a.branch != nullptr) branch[i] = Packed<T>::load(static_cast<const T*>(a.branch) + first + column);
  }
  for (int i = 0; i < Chunks; ++i) {
    const int column = chunk_column<Threads>(i);
    if (column >= a.columns) continue;
    if (a.branch != nullptr) {
      float added[kChunk], bias[kChunk] = {};
      unpack_chunk(branch[i], added);
      if (a.bias != nullptr) load_chunk(static_cast<const T*>(a.bias) + column, bias);
      const MaskChunk keep = mask.chunk(column / kChunk);
      for (int j = 0; j < kChunk; ++j) s[i][j] += keep.apply(j, added[j] + bias[j]);
    }
    const Packed<T> rounded = pack_chunk<T>(s[i]);
    unpack_chunk(rounded, s[i]);
    if (a.sum != nullptr) rounded.store(static_cast<T*>(a.sum) + first + column);
  }
  const RowStatistics statistics =
      normalise_row<Threads>(s, a.columns, a.norm.kind, a.norm.eps, shared_memory<float>());
  apply_affine<T, Threads>(s, a.columns, a.norm);
  for (int i = 0; i < Chunks; ++i) {
    const int column = chunk_column<Threads>(i);
    if (column >= a.columns) continue;
    store_chunk(static_cast<T*>(a.y) + first + column, s[i]);
  }
  if (group_thread<Threads>() != 0) return;
  if (a.rstd != nullptr) a.rstd[row] = statistics.rstd;
  if (a.mean != nullptr && a.norm.kind == NormKind::layer_norm) a.mean[row] = statistics.mean;
}

template <class T, int Threads>
int residual_norm_forward_rows(const ResidualNormForward& a, void* stream) {
  return with_chunks<Threads>(a.columns, [&](auto chunks) {
    return launch(residual_norm_forward_kernel<T, Threads, decltype(chunks)::value>, group_grid<Threads>(a.rows),
                  dim3{group_block<Threads>(), 1, 1}, normalise_floats<Threads>() * sizeof(float), stream, a);
  });
}

}  // namespace peft::cuda
