#pragma once
/// ntk_attention, forward: formula and layouts in api.h.
///
/// A block takes 128 rows of one group and one head: 4 warps of 32 rows, or 8 of 16 where the accumulators of 32 would not fit. A warp holds
/// [a | b] = phi(q) [Z | den] in registers, (D + 8) / 2 floats a lane for each 16 rows, merges its own rows and writes them. phi is applied
/// to the operands on their way from shared memory; taylor1's constant feature is what the accumulators start from.
///
/// Shared memory, 16-bit values in rows of D + 8:
///   q      128 rows
///   self   128 rows: O_s, then O
///   state  D rows: [Z | den]
/// D 64: 46,080 bytes, D 128: 104,448.
/// Synchronisation: q and the state come in a first group of copies, O_s in a second that the products hide; a barrier after the wait for
/// each. From then on a warp is alone with its rows.
/// A row and head, D 64: 6 D + 8 = 392 bytes and 2 D (D + 8) = 9,216 operations, 24 of them a byte: memory bound.

#include "src/kernels/cuda/common/merge.cuh"
#include "src/kernels/cuda/ntk_attention/features.cuh"

namespace peft::cuda {

template <int kWidth>
struct NtkForwardTile {
  static constexpr int kRows = ntk_tile_rows(kWidth);
  static constexpr int kTiles = kWidth <= 80 ? 2 : 1;  ///< of 16 rows, a warp
  static constexpr int kThreads = 32 * kRows / (16 * kTiles);
  static constexpr std::size_t kSharedBytes = 2 * (2 * tile_values(kRows, kWidth) + tile_values(kWidth, kWidth));
};

struct NtkMerged {
  float lse, self_weight, state_weight;
};
__device__ __forceinline__ NtkMerged merge_mass(float self, float mass, bool off, float shift) {
  const float larger = self > mass ? self : mass, smaller = self > mass ? mass : self;  // a NaN is one of them
  const float lse = smaller == -INFINITY ? larger : larger + log1pf(__expf(smaller - larger));
  return {lse, self == -INFINITY ? 0.0F : __expf(self - lse), __expf(log_row_scale(off, shift, lse))};
}

template <class T, int kWidth, StateMap kMap>
__global__ void __launch_bounds__(NtkForwardTile<kWidth>::kThreads) ntk_forward_kernel(NtkForward args) {
  using Tile = NtkForwardTile<kWidth>;
  constexpr int kColumns = kWidth / 8;  // of 8; one more for den
  const RowItem item = args.tiles[blockIdx.x];
  const int head = static_cast<int>(blockIdx.y), warp = static_cast<int>(threadIdx.x) / 32,
            lane = static_cast<int>(threadIdx.x) % 32;
  if (item.rows == 0) return;
  if (item.group < 0)
    return keep_rows<T, kWidth, Tile::kThreads>(args.self, args.out, args.self_lse, args.lse, args.shape.rows, item,
                                                head);

  const NtkShape& shape = args.shape;
  const int64_t state_head =
      static_cast<int64_t>(item.group) * shape.state_heads + head / (shape.heads / shape.state_heads);
  const T* state_rows =
      static_cast<const T*>(args.state) + state_head * tile_values(ntk_state_rows(kMap, kWidth), kWidth);
  const float* center = args.center == nullptr ? nullptr : args.center + state_head * kWidth;
  T* q = shared_memory<T>();
  T* self = q + tile_values(Tile::kRows, kWidth);
  T* state = self + tile_values(Tile::kRows, kWidth);
  copy_tile<Tile::kRows, kWidth, Tile::kThreads>(q, rows_of<const T>(args.q, item.row0, head), args.q.row_stride,
                                                 item.rows);
  copy_values<Tile::kThreads>(state, state_rows, tile_values(kWidth, kWidth));
  commit_copies();
  copy_tile<Tile::kRows, kWidth, Tile::kThreads>(self, rows_of<const T>(args.self, item.row0, head),
                                                 args.self.row_stride, item.rows);
  commit_copies();

  const int first = 16 * Tile::kTiles * warp, pair = 2 * (lane % 4);
  const float* self_lse = args.self_lse + head * shape.rows + item.row0;
  float self_mass[Tile::kTiles][2], shift[Tile::kTiles][2], values[Tile::kTiles][kColumns + 1][4];
  PEFT_UNROLL
  for (int m = 0; m < Tile::kTiles; ++m) {
    PEFT_UNROLL
    for (int lower = 0; lower < 2; ++lower) {
      const int row = first + 16 * m + 8 * lower + lane / 4;
      self_mass[m][lower] = row < item.rows ? self_lse[row] : -INFINITY;
      shift[m][lower] = 0.0F;
    }
    PEFT_UNROLL
    for (int j = 0; j <= kColumns; ++j) {
      float2 start = make_float2(0.0F, 0.0F);
      if (kMap == StateMap::taylor1) {
        uint32_t constant;
        memcpy(&constant, state_rows + tile_values(kWidth, kWidth) + 8 * j + pair, 4);
        start = unpack<T>(constant);
      }
      values[m][j][0] = values[m][j][2] = start.x;
      values[m][j][1] = values[m][j][3] = start.y;
    }
  }

  wait_copies<1>();
  __syncthreads();
  const float root = sqrtf(shape.scale);
  PEFT_UNROLL
  for (int k = 0; k < kWidth; k += 16) {
    uint32_t phi[Tile::kTiles][4];
    PEFT_UNROLL
    for (int m = 0; m < Tile::kTiles; ++m) {
      load_a<kWidth>(phi[m], q, first + 16 * m, k, lane);
      if (center != nullptr) add_center<T>(shift[m], phi[m], center + k, lane);
      PEFT_UNROLL
      for (int i = 0; i < 4; ++i) phi[m][i] = feature_pair<kMap, T>(phi[m][i], root);
    }
    PEFT_UNROLL
    for (int j = 0; j < kColumns; j += 2) {
      uint32_t z[4];
      load_b_transposed<kWidth>(z, state, k, 8 * j, lane);
      PEFT_UNROLL
      for (int m = 0; m < Tile::kTiles; ++m) {
        multiply<T>(values[m][j], phi[m], z[0], z[1]);
        multiply<T>(values[m][j + 1], phi[m], z[2], z[3]);
      }
    }
    uint32_t den[4];
    load_b_transposed_half<kWidth>(den, state, k, kWidth, lane);
    PEFT_UNROLL
    for (int m = 0; m < Tile::kTiles; ++m) multiply<T>(values[m][kColumns], phi[m], den[0], den[1]);
  }

  wait_copies<0>();
  __syncthreads();
  PEFT_UNROLL
  for (int m = 0; m < Tile::kTiles; ++m) {
    PEFT_UNROLL
    for (int lower = 0; lower < 2; ++lower) {
      const int row = first + 16 * m + 8 * lower + lane / 4;
      const float b = __shfl_sync(kAllLanes, values[m][kColumns][2 * lower], lane / 4 * 4);
      const float c = center == nullptr ? 0.0F : shape.scale * row_sum(shift[m][lower]);
      const bool off = switched_off<kMap>(b);
      const float self_lse_of_row = self_mass[m][lower] == INFINITY ? -INFINITY : self_mass[m][lower];
      const NtkMerged merged = merge_mass(self_lse_of_row, off ? -INFINITY : logf(b) + c, off, c);
      PEFT_UNROLL
      for (int j = 0; j < kColumns; ++j) {
        auto* at = reinterpret_cast<uint32_t*>(self + row * tile_stride(kWidth) + 8 * j + pair);
        const float2 o = unpack<T>(*at);
        const float x = off ? 0.0F : merged.state_weight * values[m][j][2 * lower],
                    y = off ? 0.0F : merged.state_weight * values[m][j][2 * lower + 1];
        *at = self_lse_of_row == -INFINITY ? pack_floats<T>(x, y)
                                           : pack_floats<T>(merged.self_weight * o.x + x, merged.self_weight * o.y + y);
      }
      if (lane % 4 == 0 && row < item.rows) args.lse[head * shape.rows + item.row0 + row] = merged.lse;
    }
  }
  __syncwarp();
  const int rows = item.rows - first < 16 * Tile::kTiles ? item.rows - first : 16 * Tile::kTiles;
  store_tile<kWidth>(rows_of<T>(args.out, item.row0 + first, head), args.out.row_stride,
                     self + first * tile_stride(kWidth), rows, lane, 32);
}

template <class T, int kWidth>
int launch_ntk_forward(const NtkForward& args, void* stream) {
  using Tile = NtkForwardTile<kWidth>;
  if (args.tile_count == 0 || args.shape.heads == 0) return 0;
  const dim3 grid{static_cast<unsigned>(args.tile_count), static_cast<unsigned>(args.shape.heads), 1},
      block{Tile::kThreads, 1, 1};
  const auto kernel = args.shape.map == StateMap::elu ? ntk_forward_kernel<T, kWidth, StateMap::elu>
                                                      : ntk_forward_kernel<T, kWidth, StateMap::taylor1>;
  return launch(kernel, grid, block, Tile::kSharedBytes, stream, args);
}

}  // namespace peft::cuda
