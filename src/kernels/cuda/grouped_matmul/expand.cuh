#pragma once
/// expand: y [T, wide] (+)= scale_k D(h W_k); formula and layouts in api.h.
///
/// One block of 4 warps for 64 rows x 64 columns. The reduction is the rank: h (64 x Rank) and W (Rank x 64) are copied whole, with them what y
/// holds. The four warps multiply 32 x 32 each; the products go through shared memory as floats, so that y is written in 16-byte
/// pieces and rounded once.
///
/// Shared memory, bytes: h tile 64 x (Rank sizeof(T) + 16) + W tile: Rank x (64 sizeof(T) + 16), or 64 x (Rank sizeof(T) + 16), then reused for
///   products float [64][68]; behind them, when y is added to, y's tile 64 x (64 sizeof(T) + 16).
///   bf16, Rank 16: 17,408 (the products) + 9,216; 128: 35,840 + 9,216.  float, Rank 128: 68,608 + 17,408.
/// Synchronisation: wait for the copies, barrier, multiply, barrier (the tiles are free), store products, barrier. A thread reads those pieces
/// of y's tile that it copied.
/// Bytes from memory: sizeof(T) rows (2 wide + rank), without addition (wide + rank). FLOPs 2 rows wide rank: memory bound up to rank 128.

#include "src/kernels/cuda/grouped_matmul/dropout.cuh"

namespace peft::cuda {

constexpr int kExpandColumns = 64;

template <class T, int Rank, FactorLayout Layout>
struct ExpandTiles {
  static constexpr bool kWideRows = Layout == FactorLayout::wide_by_rank;
  static constexpr int kFactorRows = kWideRows ? kExpandColumns : Rank,
                       kFactorColumns = kWideRows ? Rank : kExpandColumns;
  static constexpr int kRows = kGroupTileRows * pitch<T>(Rank), kFactor = kFactorRows * pitch<T>(kFactorColumns);
  static constexpr int kTileBytes = (kRows + kFactor) * static_cast<int>(sizeof(T));
  static constexpr int kProductPitch = kExpandColumns + 4;
  static constexpr int kProductBytes = kGroupTileRows * kProductPitch * static_cast<int>(sizeof(float));
  static constexpr int kFirstBytes = kTileBytes > kProductBytes ? kTileBytes : kProductBytes;
  static constexpr int kOldBytes = kGroupTileRows * pitch<T>(kExpandColumns) * static_cast<int>(sizeof(T));
};

template <class T, int Rank, FactorLayout Layout>
__global__ void __launch_bounds__(kGroupThreads) expand_kernel(GroupedExpand p) {
  using Tiles = ExpandTiles<T, Rank, Layout>;
  const GroupItem item = p.tiles[blockIdx.x];
  if (item.rows == 0) return;
  const int column0 = static_cast<int>(blockIdx.y) * kExpandColumns, columns = p.wide - column0;
  const T* h = static_cast<const T*>(p.h) + item.row0 * p.h_stride;
  const T* weight = static_cast<const T*>(p.weight) + static_cast<int64_t>(item.group) * p.wide * p.rank;
  T* y = static_cast<T*>(p.y) + item.row0 * p.y_stride + column0;
  T* h_tile = shared_memory<T>();
  T* factor_tile = h_tile + Tiles::kRows;
  T* y_tile = shared_memory<T>() + Tiles::kFirstBytes / static_cast<int>(sizeof(T));

  load_tile<T, kGroupTileRows, Rank>(h_tile, h, p.h_stride, item.rows, p.rank);
  if constexpr (Tiles::kWideRows) {
    const T* from = weight + static_cast<int64_t>(column0) * p.rank;
    if (p.rank % kPiece == 0)
      load_tile<T, kExpandColumns, Rank>(factor_tile, from, p.rank, columns, p.rank);
    else
      load_odd_tile<T, kExpandColumns, Rank>(factor_tile, from, p.rank, columns);
  } else {
    load_tile<T, Rank, kExpandColumns>(factor_tile, weight + column0, p.wide, p.rank, columns);
  }
  if (p.accumulate) load_tile<T, kGroupTileRows, kExpandColumns>(y_tile, y, p.y_stride, item.rows, columns);
  commit_copies();

  wait_copies<0>();
  __syncthreads();
  const int warp = static_cast<int>(threadIdx.x / 32), first_row = warp / 2 * 32, first_column = warp % 2 * 32;
  float products[2][4][4] = {};
  PEFT_UNROLL
  for (int k = 0; k < Rank; k += kDepth<T>) {
    const T* rows = h_tile + first_row * pitch<T>(Rank) + k;
    if constexpr (Tiles::kWideRows)
      multiply_depth<Order::as_counted, Order::transposed>(
          products, rows, pitch<T>(Rank), factor_tile + first_column * pitch<T>(Rank) + k, pitch<T>(Rank));
    else
      multiply_depth<Order::as_counted, Order::as_counted>(products, rows, pitch<T>(Rank),
                                                           factor_tile + k * pitch<T>(kExpandColumns) + first_column,
                                                           pitch<T>(kExpandColumns));
  }
  __syncthreads();
  float* shared_products = shared_memory<float>();
  for_each_pair(products, [&](int row, int column, float first, float second) {
    float* to = shared_products + (first_row + row) * Tiles::kProductPitch + first_column + column;
    to[0] = first;
    to[1] = second;
  });
  __syncthreads();

  const float scale = p.scale != nullptr ? p.scale[item.group] : 1.0F;
  constexpr int kPieces = kExpandColumns / kPiece;
  for (int i = static_cast<int>(threadIdx.x); i < kGroupTileRows * kPieces; i += kGroupThreads) {
    const int row = i / kPieces, column = i % kPieces * kPiece;
    if (row >= item.rows || column >= columns) continue;
    const MaskChunk mask = RowMask(p.dropout, item.row0 + row).chunk((column0 + column) / kPiece);
    Piece<T> piece;
    if (p.accumulate) piece = load_piece(y_tile + row * pitch<T>(kExpandColumns) + column);  // copied by this thread
    for (int j = 0; j < kPiece; ++j) {
      const float add = mask.apply(j, scale * shared_products[row * Tiles::kProductPitch + column + j]);
      piece.values[j] = from_float<T>(p.accumulate ? to_float(piece.values[j]) + add : add);
    }
    store_piece(y + row * p.y_stride + column, piece);
  }
}

template <class T, int Rank, FactorLayout Layout>
int launch_expand_layout(const GroupedExpand& product, void* stream) {
  const dim3 grid{static_cast<unsigned>(product.tile_count),
                  static_cast<unsigned>((product.wide + kExpandColumns - 1) / kExpandColumns), 1};
  using Tiles = ExpandTiles<T, Rank, Layout>;
  const std::size_t bytes = Tiles::kFirstBytes + (product.accumulate ? Tiles::kOldBytes : 0);
  return launch(expand_kernel<T, Rank, Layout>, grid, dim3{kGroupThreads, 1, 1}, bytes, stream, product);
}

template <class T, int Rank>
int launch_expand(const GroupedExpand& product, void* stream) {
  return product.layout == FactorLayout::wide_by_rank
             ? launch_expand_layout<T, Rank, FactorLayout::wide_by_rank>(product, stream)
             : launch_expand_layout<T, Rank, FactorLayout::rank_by_wide>(product, stream);
}

}  // namespace peft::cuda
