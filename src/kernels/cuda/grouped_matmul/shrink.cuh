#pragma once
/// shrink: h [T, rank] = scale_k D(x) W_k; formula and layouts in api.h.
///
/// One block of 4 warps an item of 64 rows. x comes in steps of 128 bytes a row (64 values, 32 floats), W with them: kShrinkStages stages of
/// cp.async, one barrier a step. Where the rank is small the warps split the depth of a step and keep 64 x Rank results each, which
/// are added in the order of the warps at the end; otherwise they split the rows.
/// Dropout: each thread clears elements of the pieces it copied itself, before the step's barrier: one draw of eight columns a piece.
///
/// Shared memory, bytes: stages x (x tile 64 x 144 + W tile: step x (Rank sizeof(T) + 16), or Rank x 144), then reused for
///   sums float [depth splits][64][Rank + 4].     bf16, Rank 16: 36,864; 32: 43,008; 64: 55,296; 128: 82,944.  float: the same or less.
/// Synchronisation: step s: wait for its copies, drop, barrier (its tiles are whole, the ones of s - 1 free), copy s + stages - 1, multiply.
/// Bytes from memory: sizeof(T) rows (wide + rank); W from L2 for every item. FLOPs 2 rows wide rank: memory bound up to rank 128.

#include "src/kernels/cuda/grouped_matmul/dropout.cuh"

namespace peft::cuda {

constexpr int kShrinkStages = 3;

/// Warps that share the depth of a step; the others have rows of their own.
template <int Rank>
constexpr int kDepthWarps = Rank <= 32 ? 4 : 128 / Rank;

template <class T, int Rank, FactorLayout Layout>
struct ShrinkTiles {
  static constexpr bool kWideRows = Layout == FactorLayout::wide_by_rank;
  static constexpr int kFactorRows = kWideRows ? kStep<T> : Rank, kFactorColumns = kWideRows ? Rank : kStep<T>;
  static constexpr int kRows = kGroupTileRows * pitch<T>(kStep<T>), kFactor = kFactorRows * pitch<T>(kFactorColumns);
  static constexpr int kStageBytes = (kRows + kFactor) * static_cast<int>(sizeof(T));
  static constexpr int kSumPitch = Rank + 4;
  static constexpr int kSumBytes = kDepthWarps<Rank> * kGroupTileRows * kSumPitch * static_cast<int>(sizeof(float));
  static constexpr int kCopyBytes = kShrinkStages * kStageBytes;
  static constexpr int kBytes = kCopyBytes > kSumBytes ? kCopyBytes : kSumBytes;
};

template <class T, int Rank, FactorLayout Layout>
__global__ void __launch_bounds__(kGroupThreads) shrink_kernel(GroupedShrink p) {
  using Tiles = ShrinkTiles<T, Rank, Layout>;
  constexpr int kSplit = kDepthWarps<Rank>, kDepths = kStep<T> / kDepth<T>;
  const GroupItem item = p.tiles[blockIdx.x];
  if (item.rows == 0) return;
  const T* x = static_cast<const T*>(p.x) + item.row0 * p.x_stride;
  const T* weight = static_cast<const T*>(p.weight) + static_cast<int64_t>(item.group) * p.wide * p.rank;
  T* stages = shared_memory<T>();
  const int warp = static_cast<int>(threadIdx.x / 32), steps = (p.wide + kStep<T> - 1) / kStep<T>;
  const int depth_warp = warp % kSplit, first_row = warp / kSplit * 16 * kSplit;

  const auto x_tile = [&](int step) { return stages + step % kShrinkStages * (Tiles::kRows + Tiles::kFactor); };
  const auto copy_step = [&](int step) {
    if (step < steps) {
      T* tile = x_tile(step);
      T* factor = tile + Tiles::kRows;
      const int begin = step * kStep<T>, left = p.wide - begin;
      load_tile<T, kGroupTileRows, kStep<T>>(tile, x + begin, p.x_stride, item.rows, left);
      if constexpr (Tiles::kWideRows) {
        const T* from = weight + static_cast<int64_t>(begin) * p.rank;
        if (p.rank % kPiece == 0)
          load_tile<T, kStep<T>, Rank>(factor, from, p.rank, left, p.rank);
        else
          load_odd_tile<T, kStep<T>, Rank>(factor, from, p.rank, left);
      } else {
        load_tile<T, Rank, kStep<T>>(factor, weight + begin, p.wide, p.rank, left);
      }
    }
    commit_copies();
  };

  float sums[kSplit][Rank / 8][4] = {};
  PEFT_UNROLL
  for (int s = 0; s < kShrinkStages - 1; ++s) copy_step(s);
  for (int step = 0; step < steps; ++step) {
    wait_copies<kShrinkStages - 2>();
    T* tile = x_tile(step);
    if (p.dropout.streams != nullptr) {
      drop_own_pieces<T, kGroupTileRows, kStep<T>>(tile, p.dropout, item.row0, item.rows, step * kStep<T>);
    }
    __syncthreads();
    copy_step(step + kShrinkStages - 1);
    const T* factor = tile + Tiles::kRows;
    PEFT_UNROLL
    for (int depth = 0; depth < kDepths; depth += kSplit) {
      const int k = (depth + depth_warp) * kDepth<T>;
      const T* rows = tile + first_row * pitch<T>(kStep<T>) + k;
      if constexpr (Tiles::kWideRows)
        multiply_depth<Order::as_counted, Order::as_counted>(sums, rows, pitch<T>(kStep<T>),
                                                             factor + k * pitch<T>(Rank), pitch<T>(Rank));
      else
        multiply_depth<Order::as_counted, Order::transposed>(sums, rows, pitch<T>(kStep<T>), factor + k,
                                                             pitch<T>(kStep<T>));
    }
  }

  wait_copies<0>();
  __syncthreads();  // every warp has read the last tiles
  float* shared_sums = shared_memory<float>();
  for_each_pair(sums, [&](int row, int column, float first, float second) {
    float* to = shared_sums + (depth_warp * kGroupTileRows + first_row + row) * Tiles::kSumPitch + column;
    to[0] = first;
    to[1] = second;
  });
  __syncthreads();
  const float factor = group_factor(p.scale, p.dropout, item.group);
  T* h = static_cast<T*>(p.h) + item.row0 * p.h_stride;
  constexpr int kPieces = Rank / kPiece;
  for (int i = static_cast<int>(threadIdx.x); i < kGroupTileRows * kPieces; i += kGroupThreads) {
    const int row = i / kPieces, column = i % kPieces * kPiece;
    if (row >= item.rows || column >= p.rank) continue;
    Piece<T> piece;
    for (int j = 0; j < kPiece; ++j) {
      float sum = 0.0F;
      for (int w = 0; w < kSplit; ++w) sum += shared_sums[(w * kGroupTileRows + row) * Tiles::kSumPitch + column + j];
      piece.values[j] = from_float<T>(factor * sum);
    }
    store_piece(h + row * p.h_stride + column, piece);
  }
}

template <class T, int Rank, FactorLayout Layout>
int launch_shrink_layout(const GroupedShrink& product, void* stream) {
  return launch(shrink_kernel<T, Rank, Layout>, dim3{static_cast<unsigned>(product.tile_count), 1, 1},
                dim3{kGroupThreads, 1, 1}, ShrinkTiles<T, Rank, Layout>::kBytes, stream, product);
}

/// For ranks up to Rank: 16, 32, 64 or 128.
template <class T, int Rank>
int launch_shrink(const GroupedShrink& product, void* stream) {
  return product.layout == FactorLayout::wide_by_rank
             ? launch_shrink_layout<T, Rank, FactorLayout::wide_by_rank>(product, stream)
             : launch_shrink_layout<T, Rank, FactorLayout::rank_by_wide>(product, stream);
}

}  // namespace peft::cuda
