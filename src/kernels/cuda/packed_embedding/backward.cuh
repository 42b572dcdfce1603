#pragma once
/// packed_embedding backward to the prompt rows, and to rows that tokens bring: formula and layouts in api.h.
///
/// To prompts, launch 1, one group of threads (a warp, or a block of 256 above 1024 columns) a chunk and prompt row p: for the chunk's sequences, one
/// after another, the input row is embedded and normalised again, dy goes back through dropout, norm and prompt dropout, and the sum stays
/// in registers -> partial[chunk, p]. Launch 2, one thread four columns of prompt row (s, p): adds the partial sums of the source's chunks
/// in order. Memory: two rows in a sequence and prompt row (dy, prompt; tables come from the cache), 1 / kPromptChunk row out and in again.
/// Shared memory of a block in launch 1: [0, 17) normalise_row, [17, 41) the three sums of norm_gradient_row; none for warps. Four barriers a
/// sequence; a region is written again only behind a later barrier of the next sequence, when every thread has read it.
/// To tokens: one group of threads an output row, the same arithmetic. Memory: dy and x in, dx out.

#include "src/kernels/cuda/packed_embedding/forward.cuh"

namespace peft::cuda {

constexpr int kPromptSumThreads = 128;

template <int Threads>
constexpr int row_gradient_floats() {
  return normalise_floats<Threads>() + norm_gradient_floats<Threads>();
}

/// The gradient of what embed_row gives, before prompt dropout.
template <class T, int Threads, int Chunks>
__device__ __forceinline__ void row_gradient(float (&g)[Chunks][kChunk], const PackedEmbedding& e, const void* dy,
                                             int64_t row, float* scratch) {
  const RowMask mask(e.dropout, row);
  for (int i = 0; i < Chunks; ++i) {
    const int column = chunk_column<Threads>(i);
    for (int j = 0; j < kChunk; ++j) g[i][j] = 0.0F;
    if (column < e.columns) load_chunk(static_cast<const T*>(dy) + row * e.columns + column, g[i]);
    const MaskChunk keep = mask.chunk(column / kChunk);
    for (int j = 0; j < kChunk; ++j) g[i][j] = keep.apply(j, g[i][j]);
  }
  if (!e.normalise) return;
  float x[Chunks][kChunk];
  embed_row<T, Threads>(e, row, x);
  const RowStatistics statistics = normalise_row<Threads>(x, e.columns, e.norm.kind, e.norm.eps, scratch);
  scale_by_gamma<T, Threads>(g, e.columns, e.norm);
  norm_gradient_row<Threads>(g, x, e.columns, e.norm.kind, 1.0F, statistics.rstd, scratch + normalise_floats<Threads>());
}

template <class T, int Threads, int Chunks>
__global__ void __launch_bounds__(group_block<Threads>())
    token_gradient_kernel(PackedEmbedding e, const void* dy, void* dx) {
  const int64_t row = group_index<Threads>();
  if (row >= e.row_count) return;
  const int64_t token = e.rows[row].word;
  if (token < 0) return;
  float g[Chunks][kChunk];
  row_gradient<T, Threads>(g, e, dy, row, shared_memory<float>());
  for (int i = 0; i < Chunks; ++i) {
    const int column = chunk_column<Threads>(i);
    if (column < e.columns) store_chunk(static_cast<T*>(dx) + token * e.columns + column, g[i]);
  }
}

template <class T, int Threads, int Chunks>
__global__ void __launch_bounds__(group_block<Threads>())
    prompt_partial_kernel(PackedEmbedding e, PromptGradient gradient) {
  const int64_t item = group_index<Threads>();
  if (item >= static_cast<int64_t>(gradient.chunk_count) * gradient.prompt_rows) return;
  const auto p = static_cast<int>(item % gradient.prompt_rows);
  const PromptChunk chunk = gradient.chunks[item / gradient.prompt_rows];
  if (chunk.count == 0) return;
  auto* scratch = shared_memory<float>();
  float sum[Chunks][kChunk] = {};
  for (int b = chunk.first; b < chunk.first + chunk.count; ++b) {
    const int64_t row = gradient.first_row[b] + p;
    float g[Chunks][kChunk];
    row_gradient<T, Threads>(g, e, gradient.dy, row, scratch);
    const RowMask prompt_mask(e.prompt_dropout, row);
    for (int i = 0; i < Chunks; ++i) {
      const MaskChunk keep = prompt_mask.chunk(chunk_column<Threads>(i) / kChunk);
      for (int j = 0; j < kChunk; ++j) sum[i][j] += keep.apply(j, g[i][j]);
    }
  }
  for (int i = 0; i < Chunks; ++i) {
    const int column = chunk_column<Threads>(i);
    if (column < e.columns) store_chunk(gradient.partial + item * e.columns + column, sum[i]);
  }
}

__device__ __forceinline__ float4 plus(const float4& a, const float4& b) {
  return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}

inline __global__ void __launch_bounds__(kPromptSumThreads) prompt_sum_kernel(PromptGradient gradient, int columns) {
  const int column = 4 * static_cast<int>(blockIdx.y * kPromptSumThreads + threadIdx.x);
  if (column >= columns) return;
  const int64_t row = blockIdx.x;  // s P + p
  const auto source = static_cast<int>(row / gradient.prompt_rows), p = static_cast<int>(row % gradient.prompt_rows);
  auto* to = reinterpret_cast<float4*>(gradient.dprompt + row * columns + column);
  float4 sum = make_float4(0.0F, 0.0F, 0.0F, 0.0F);
  for (int c = gradient.first_chunk[source]; c < gradient.first_chunk[source + 1]; ++c) {
    const int64_t from = (static_cast<int64_t>(c) * gradient.prompt_rows + p) * columns + column;
    sum = plus(sum, *reinterpret_cast<const float4*>(gradient.partial + from));
  }
  *to = gradient.accumulate ? plus(*to, sum) : sum;
}

template <class T, int Threads>
int token_gradient_rows(const PackedEmbedding& e, const void* dy, void* dx, void* stream) {
  return with_chunks<Threads>(e.columns, [&](auto chunks) {
    return launch(token_gradient_kernel<T, Threads, decltype(chunks)::value>, group_grid<Threads>(e.row_count),
                  dim3{group_block<Threads>(), 1, 1}, row_gradient_floats<Threads>() * sizeof(float), stream, e, dy,
                  dx);
  });
}

template <class T, int Threads>
int prompt_gradient_rows(const PackedEmbedding& e, const PromptGradient& gradient, void* stream) {
  const int64_t items = static_cast<int64_t>(gradient.chunk_count) * gradient.prompt_rows;
  if (items > 0) {
    const int error = with_chunks<Threads>(e.columns, [&](auto chunks) {
      return launch(prompt_partial_kernel<T, Threads, decltype(chunks)::value>, group_grid<Threads>(items),
                    dim3{group_block<Threads>(), 1, 1}, row_gradient_floats<Threads>() * sizeof(float), stream, e,
                    gradient);
    });
    if (error != 0) return error;
  }
  const dim3 grid{static_cast<unsigned>(gradient.sources * gradient.prompt_rows),
                  static_cast<unsigned>((e.columns + 4 * kPromptSumThreads - 1) / (4 * kPromptSumThreads)), 1};
  return launch(prompt_sum_kernel, grid, dim3{kPromptSumThreads, 1, 1}, 0, stream, gradient, e.columns);
}

}  // namespace peft::cuda
