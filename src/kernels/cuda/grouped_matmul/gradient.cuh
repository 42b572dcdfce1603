#pragma once
/// gradient: dW_k [wide, rank] = scale_k D(x)^T h over the rows of group k; formula and layouts in api.h.
///
/// One block of 4 warps for a chunk of 256 rows x 64 columns of x: rows come in steps of 64 (float: 32), both tiles transposed by
/// ldmatrix, results in registers over the chunk, then in `partial` in the gradient's own layout. A warp's stores fill whole 32-byte
/// sectors in both layouts.
/// gradient_sum.cuh adds the chunks.
///
/// Shared memory, bytes: two stages x (x tile: step x (64 sizeof(T) + 16) + h tile: step x (Rank sizeof(T) + 16)).
///   bf16, Rank 16: 24,576; 128: 53,248.  float, Rank 16: 22,528; 128: 51,200.
/// Synchronisation: as in shrink: one barrier a step, the copies of a step run during the product of the one before.
/// Bytes from memory: sizeof(T) rows (wide + rank) + 8 wide rank rows / 256 for the partial sums; h from L2 for every 64 columns.

#include "src/kernels/cuda/grouped_matmul/dropout.cuh"

namespace peft::cuda {

constexpr int kGradientColumns = 64, kGradientStages = 2;

template <class T, int Rank>
struct GradientTiles {
  static constexpr int kX = kStep<T> * pitch<T>(kGradientColumns), kH = kStep<T> * pitch<T>(Rank);
  static constexpr int kBytes = kGradientStages * (kX + kH) * static_cast<int>(sizeof(T));
};

template <class T, int Rank, FactorLayout Layout>
__global__ void __launch_bounds__(kGroupThreads) gradient_kernel(GroupedGradient p) {
  using Tiles = GradientTiles<T, Rank>;
  constexpr int kRankWarps = Rank == 16 ? 1 : 2, kWideTiles = kRankWarps, kRankTiles = Rank / 8 / kRankWarps;
  const GroupItem item = p.chunks[blockIdx.x];
  if (item.rows == 0) return;
  const int column0 = static_cast<int>(blockIdx.y) * kGradientColumns, columns = p.wide - column0;
  const T* x = static_cast<const T*>(p.x) + item.row0 * p.x_stride + column0;
  const T* h = static_cast<const T*>(p.h) + item.row0 * p.h_stride;
  T* stages = shared_memory<T>();
  const int steps = (item.rows + kStep<T> - 1) / kStep<T>, warp = static_cast<int>(threadIdx.x / 32);
  const int first_wide = warp / kRankWarps * 16 * kWideTiles, first_rank = warp % kRankWarps * 8 * kRankTiles;

  const auto x_tile = [&](int step) { return stages + step % kGradientStages * (Tiles::kX + Tiles::kH); };
  const auto copy_step = [&](int step) {
    if (step < steps) {
      const int begin = step * kStep<T>, left = item.rows - begin;
      load_tile<T, kStep<T>, kGradientColumns>(x_tile(step), x + begin * p.x_stride, p.x_stride, left, columns);
      load_tile<T, kStep<T>, Rank>(x_tile(step) + Tiles::kX, h + begin * p.h_stride, p.h_stride, left, p.rank);
    }
    commit_copies();
  };

  float sums[kWideTiles][kRankTiles][4] = {};
  copy_step(0);
  for (int step = 0; step < steps; ++step) {
    wait_copies<0>();
    T* tile = x_tile(step);
    if (p.dropout.streams != nullptr) {
      const int begin = step * kStep<T>;
      drop_own_pieces<T, kStep<T>, kGradientColumns>(tile, p.dropout, item.row0 + begin, item.rows - begin, column0);
    }
    __syncthreads();
    copy_step(step + 1);
    const T* h_tile = tile + Tiles::kX;
    PEFT_UNROLL
    for (int k = 0; k < kStep<T>; k += kDepth<T>) {
      multiply_depth<Order::transposed, Order::as_counted>(sums, tile + k * pitch<T>(kGradientColumns) + first_wide,
                                                           pitch<T>(kGradientColumns),
                                                           h_tile + k * pitch<T>(Rank) + first_rank, pitch<T>(Rank));
    }
  }

  float* partial = p.partial + static_cast<int64_t>(blockIdx.x) * p.wide * p.rank;
  const auto put = [&](int wide, int rank, float value) {
    if (wide >= p.wide || rank >= p.rank) return;
    partial[Layout == FactorLayout::wide_by_rank ? wide * p.rank + rank : rank * p.wide + wide] = value;
  };
  for_each_pair(sums, [&](int row, int column, float first, float second) {
    put(column0 + first_wide + row, first_rank + column, first);
    put(column0 + first_wide + row, first_rank + column + 1, second);
  });
}

template <class T, int Rank, FactorLayout Layout>
int launch_gradient_layout(const GroupedGradient& product, void* stream) {
  const dim3 grid{static_cast<unsigned>(product.chunk_count),
                  static_cast<unsigned>((product.wide + kGradientColumns - 1) / kGradientColumns), 1};
  return launch(gradient_kernel<T, Rank, Layout>, grid, dim3{kGroupThreads, 1, 1}, GradientTiles<T, Rank>::kBytes,
                stream, product);
}

template <class T, int Rank>
int launch_gradient(const GroupedGradient& product, void* stream) {
  return product.layout == FactorLayout::wide_by_rank
             ? launch_gradient_layout<T, Rank, FactorLayout::wide_by_rank>(product, stream)
             : launch_gradient_layout<T, Rank, FactorLayout::rank_by_wide>(product, stream);
}

}  // namespace peft::cuda
