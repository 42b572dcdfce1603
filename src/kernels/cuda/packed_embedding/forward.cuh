#pragma once
/// packed_embedding forward: formula and layouts in api.h.
///
/// One warp an output row for C <= 1024 (four rows a block), one block of 256 threads a row above. Memory: up to three table rows in (those
/// of positions and types come from the cache) and one row out.
/// Shared memory and barriers: those of normalise_row (row_norm.cuh), 17 floats and three barriers for a block, none for warps.

#include "src/kernels/cuda/common/row_norm.cuh"
#include "src/kernels/cuda/packed_embedding/api.h"

namespace peft::cuda {

/// e + type + position of one row: what the norm gets. 0 behind the row's end.
template <class T, int Threads, int Chunks>
__device__ __forceinline__ void embed_row(const PackedEmbedding& e, int64_t index, float (&x)[Chunks][kChunk]) {
  const EmbeddingRow row = e.rows[index];
  const RowMask mask(row.word < 0 ? e.prompt_dropout : NamedDropout{}, index);
  const auto table_row = [&](const void* table, int64_t number) {
    return static_cast<const T*>(table) + number * e.columns;
  };
  for (int i = 0; i < Chunks; ++i) {
    for (int j = 0; j < kChunk; ++j) x[i][j] = 0.0F;
    const int column = chunk_column<Threads>(i);
    if (column >= e.columns) continue;
    float added[kChunk];
    if (row.word >= 0) {
      load_chunk(table_row(e.word, row.word) + column, x[i]);
    } else {
      load_chunk(e.prompt + (-1 - static_cast<int64_t>(row.word)) * e.columns + column, x[i]);
      const MaskChunk keep = mask.chunk(column / kChunk);
      for (int j = 0; j < kChunk; ++j) x[i][j] = to_float(from_float<T>(keep.apply(j, x[i][j])));
    }
    if (e.type != nullptr) {
      load_chunk(table_row(e.type, row.type) + column, added);
      for (int j = 0; j < kChunk; ++j) x[i][j] += added[j];
    }
    if (e.position != nullptr) {
      load_chunk(table_row(e.position, row.position) + column, added);
      for (int j = 0; j < kChunk; ++j) x[i][j] += added[j];
    }
  }
}

template <class T, int Threads, int Chunks>
__global__ void __launch_bounds__(group_block<Threads>()) packed_embedding_forward_kernel(PackedEmbedding e, void* y) {
  const int64_t row = group_index<Threads>();
  if (row >= e.row_count) return;
  float x[Chunks][kChunk];
  embed_row<T, Threads>(e, row, x);
  if (e.normalise) {
    normalise_row<Threads>(x, e.columns, e.norm.kind, e.norm.eps, shared_memory<float>());
    apply_affine<T, Threads>(x, e.columns, e.norm);
  }
  const RowMask mask(e.dropout, row);
  for (int i = 0; i < Chunks; ++i) {
    const int column = chunk_column<Threads>(i);
    if (column >= e.columns) continue;
    const MaskChunk keep = mask.chunk(column / kChunk);
    for (int j = 0; j < kChunk; ++j) x[i][j] = keep.apply(j, x[i][j]);
    store_chunk(static_cast<T*>(y) + row * e.columns + column, x[i]);
  }
}

template <class T, int Threads>
int packed_embedding_forward_rows(const PackedEmbedding& e, void* y, void* stream) {
  return with_chunks<Threads>(e.columns, [&](auto chunks) {
    return launch(packed_embedding_forward_kernel<T, Threads, decltype(chunks)::value>,
                  group_grid<Threads>(e.row_count), dim3{group_block<Threads>(), 1, 1},
                  normalise_floats<Threads>() * sizeof(float), stream, e, y);
  });
}

}  // namespace peft::cuda
