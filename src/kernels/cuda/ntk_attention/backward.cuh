#pragma once
/// ntk_attention, backward: formula and layouts in api.h.
///
/// A block takes a chunk of up to 256 rows of one group and one head, tile by tile, and has two results from one reading of the rows.
/// First every warp takes 16 rows and a part of the features: dO Z^T, delta, dphi, dq. The operands of dO are those that dO . O_s needs, and
/// the lanes that get delta are those whose results it enters. Then every warp takes 16 features:
/// (g phi)^T [dO | -delta], kept in registers over the chunk, D / 2 + 4 floats a lane (D 32: half the columns each); g phi is multiplied as
/// two 16-bit numbers, its rounded value and what rounding took. The partial sums go to memory; ntk_sum_kernel adds the chunks and the
/// query heads of a state's head.
///
/// The sums over rows would overflow 16 bits where L is far from 0, so the tile's largest g is taken out and follows the sums as a factor:
///   m' = max(m, log g of the tile)     sum = e^{m - m'} sum + (e^{log g - m'} phi)^T [dO | -delta]
///
/// Shared memory, 16-bit values in rows of D + 8:
///   state    M rows: [Z | den]
///   tiles    2 of { dO, q, O_s, dq }; dO's columns D and D + 1 get -delta, twice the digits, D + 2 and D + 3 the float log g
///   shares   float [2][parts][rows]: phi . dO Z^T and phi . den of each part, where there are several
/// elu, D 64: 82,944 bytes, two blocks on sm_80; D 128: 105,472.
/// Synchronisation, a tile: its copies have landed | (several parts: their shares of delta are there) | dq, log g and delta are there |
/// all have read. The copies of the next tile begin before the first of these barriers, into memory that the last one freed.
/// A row and head, D 64: 10 D + 8 = 648 bytes, 8 M (D + 1) / 256 = 130 to write and read the partial sums, 26,600 operations.

#include "src/kernels/cuda/common/merge.cuh"
#include "src/kernels/cuda/ntk_attention/backward_rows.cuh"

namespace peft::cuda {

constexpr float kNtkNoScale = -1e30F;  ///< the largest log g of no rows: finite, so that differences are

/// Gradient of the state over a chunk: 16 features and some of the D + 8 columns of a warp, e^-largest times.
template <int kWidth>
struct NtkSums {
  using Tile = NtkBackwardTile<kWidth>;
  static constexpr int kFeatureTiles = kWidth / 16;
  static constexpr int kColumns = (kWidth / 8 + Tile::kColumnParts) / Tile::kColumnParts;  ///< of 8
  static constexpr int kConstants = (kColumns + kFeatureTiles - 1) / kFeatureTiles;
  static_assert(kColumns % 2 == 1);

  float largest = kNtkNoScale;
  float z[kColumns][4] = {};
  float constant[kConstants][4] = {};  ///< taylor1's constant feature: the warps share its columns
};

/// Whether column tile j of a warp is among its share of the constant feature's.
template <int kWidth>
__device__ __forceinline__ bool sums_constant(int j, int feature_tile) {
  return j % NtkSums<kWidth>::kFeatureTiles == feature_tile;
}

template <StateMap kMap, int kWidth, class T>
__device__ __forceinline__ void add_tile(NtkSums<kWidth>& sums, const T* q, const T* dout, const NtkPlace& place) {
  using Sums = NtkSums<kWidth>;
  constexpr int kRows = NtkBackwardTile<kWidth>::kRows;
  const int feature_tile = place.warp % Sums::kFeatureTiles,
            first_column = place.warp / Sums::kFeatureTiles * Sums::kColumns;
  const auto log_scale = [&](int row) {
    return *reinterpret_cast<const float*>(dout + row * tile_stride(kWidth) + kWidth + 2);
  };
  float largest = sums.largest;
  for (int row = place.lane; row < kRows; row += 32) largest = fmaxf(largest, log_scale(row));
  largest = warp_max(largest);
  const float factor = __expf(sums.largest - largest);
  sums.largest = largest;
  PEFT_UNROLL
  for (int i = 0; i < 4; ++i) {
    PEFT_UNROLL
    for (int j = 0; j < Sums::kColumns; ++j) sums.z[j][i] *= factor;
    PEFT_UNROLL
    for (int j = 0; j < Sums::kConstants; ++j) sums.constant[j][i] *= factor;
  }
  PEFT_KEEP_LOOP
  for (int k = 0; k < kRows; k += 16) {
    float g[4];
    PEFT_UNROLL
    for (int i = 0; i < 4; ++i) g[i] = __expf(log_scale(k + 8 * (i / 2) + place.pair + i % 2) - largest);
    uint32_t a[4], rest[4], b[4];
    load_a_transposed<kWidth>(a, q, k, 16 * feature_tile, place.lane);
    PEFT_UNROLL
    for (int i = 0; i < 4; ++i) {
      const float2 x = unpack<T>(a[i]);
      const float low = g[i / 2 * 2] * feature_of<kMap>(x.x * place.root),
                  high = g[i / 2 * 2 + 1] * feature_of<kMap>(x.y * place.root);
      a[i] = pack_floats<T>(low, high);
      rest[i] = pack_remainder<T>(a[i], low, high);
    }
    if (place.lane / 4 != 0) g[0] = g[1] = g[2] = g[3] = 0.0F;  // of taylor1's 16 constants one counts
    const uint32_t ones[4] = {pack_floats<T>(g[0], g[1]), 0U, pack_floats<T>(g[2], g[3]), 0U};
    const uint32_t rest_of_ones[4] = {pack_remainder<T>(ones[0], g[0], g[1]), 0U,
                                      pack_remainder<T>(ones[2], g[2], g[3]), 0U};
    PEFT_UNROLL
    for (int j = 0; j < Sums::kColumns; ++j) {
      if (8 * (first_column + j) > kWidth) continue;  // the parts of D 32 are not equal
      if (j % 2 == 0) {
        if (j + 1 < Sums::kColumns)
          load_b_transposed<kWidth>(b, dout, k, 8 * (first_column + j), place.lane);
        else
          load_b_transposed_half<kWidth>(b, dout, k, 8 * (first_column + j), place.lane);
      }
      multiply<T>(sums.z[j], a, b[j % 2 * 2], b[j % 2 * 2 + 1]);
      multiply<T>(sums.z[j], rest, b[j % 2 * 2], b[j % 2 * 2 + 1]);
      if (kMap == StateMap::taylor1 && sums_constant<kWidth>(j, feature_tile)) {
        multiply<T>(sums.constant[j / Sums::kFeatureTiles], ones, b[j % 2 * 2], b[j % 2 * 2 + 1]);
        multiply<T>(sums.constant[j / Sums::kFeatureTiles], rest_of_ones, b[j % 2 * 2], b[j % 2 * 2 + 1]);
      }
    }
  }
}

/// A lane's two columns of one feature.
template <StateMap kMap, int kWidth>
__device__ __forceinline__ void store_sums(float* partial, int feature, int column, float x, float y) {
  if (column < kWidth) {
    *reinterpret_cast<float2*>(partial + feature * kWidth + column) = make_float2(x, y);
  } else if (column == kWidth) {
    partial[ntk_state_rows(kMap, kWidth) * kWidth + feature] = x + y;
  }
}
template <StateMap kMap, int kWidth>
__device__ __forceinline__ void store_partial(float* partial, const NtkSums<kWidth>& sums, const NtkPlace& place) {
  using Sums = NtkSums<kWidth>;
  const int feature_tile = place.warp % Sums::kFeatureTiles, feature = 16 * feature_tile + place.lane / 4,
            first_column = 8 * (place.warp / Sums::kFeatureTiles * Sums::kColumns) + place.pair;
  const float factor = __expf(sums.largest);
  PEFT_UNROLL
  for (int j = 0; j < Sums::kColumns; ++j) {
    const int column = first_column + 8 * j;
    const float(&z)[4] = sums.z[j];
    store_sums<kMap, kWidth>(partial, feature, column, factor * z[0], factor * z[1]);
    store_sums<kMap, kWidth>(partial, feature + 8, column, factor * z[2], factor * z[3]);
    if (kMap == StateMap::taylor1 && sums_constant<kWidth>(j, feature_tile) && place.lane / 4 == 0) {
      const float(&constant)[4] = sums.constant[j / Sums::kFeatureTiles];
      store_sums<kMap, kWidth>(partial, kWidth, column, factor * constant[0], factor * constant[1]);
    }
  }
}

template <class T, int kWidth, StateMap kMap>
__global__ void __launch_bounds__(NtkBackwardTile<kWidth>::kThreads, NtkBackwardTile<kWidth>::kBlocks)
    ntk_backward_kernel(NtkBackward args) {
  using Tile = NtkBackwardTile<kWidth>;
  constexpr int kRows = Tile::kRows, kThreads = Tile::kThreads, kFeatures = kWidth / Tile::kParts,
                kValues = tile_values(kRows, kWidth), kStateRows = ntk_state_rows(kMap, kWidth);
  const RowItem item = args.chunks[blockIdx.x];
  const NtkShape& shape = args.shape;
  const int head = static_cast<int>(blockIdx.y), thread = static_cast<int>(threadIdx.x);
  NtkPlace place{thread / 32, thread % 32, 2 * (thread % 4), sqrtf(shape.scale), shape.scale, nullptr};
  if (item.rows == 0 || item.group < 0) return;
  const int64_t state_head =
      static_cast<int64_t>(item.group) * shape.state_heads + head / (shape.heads / shape.state_heads);
  if (args.center != nullptr) place.center = args.center + state_head * kWidth;

  T* state = shared_memory<T>();
  T* tiles = state + tile_values(kStateRows, kWidth);
  auto* shares = reinterpret_cast<float*>(tiles + 8 * kValues);
  const auto copy_rows = [&](int tile) {
    T* to = tiles + tile % 2 * 4 * kValues;
    const int64_t row = item.row0 + tile * kRows;
    const int rows = item.rows - tile * kRows;
    copy_tile<kRows, kWidth, kThreads>(to, rows_of<const T>(args.dout, row, head), args.dout.row_stride, rows);
    copy_tile<kRows, kWidth, kThreads>(to + kValues, rows_of<const T>(args.q, row, head), args.q.row_stride, rows);
    copy_tile<kRows, kWidth, kThreads>(to + 2 * kValues, rows_of<const T>(args.self, row, head), args.self.row_stride,
                                       rows);
    copy_tile<kRows, kWidth, kThreads>(to + 3 * kValues, rows_of<const T>(args.dq, row, head), args.dq.row_stride,
                                       rows);
  };
  copy_values<kThreads>(state, static_cast<const T*>(args.state) + state_head * tile_values(kStateRows, kWidth),
                        tile_values(kStateRows, kWidth));
  copy_rows(0);
  commit_copies();

  const int row = 16 * (place.warp / Tile::kParts), part = place.warp % Tile::kParts, feature = part * kFeatures,
            tile_count = (item.rows + kRows - 1) / kRows;
  NtkSums<kWidth> sums;
  for (int tile = 0; tile < tile_count; ++tile) {
    if (tile + 1 < tile_count) copy_rows(tile + 1);
    commit_copies();
    T* dout = tiles + tile % 2 * 4 * kValues;
    const T *q = dout + kValues, *self = q + kValues;
    T* dq = dout + 3 * kValues;
    const int rows = item.rows - tile * kRows;
    const int64_t first = head * shape.rows + item.row0 + tile * kRows;
    float lse[2];
    NtkRowPair pair = {};
    PEFT_UNROLL
    for (int lower = 0; lower < 2; ++lower) {
      const int r = row + 8 * lower + place.lane / 4;
      lse[lower] = r < rows ? args.lse[first + r] : INFINITY;
      const float self_lse = r < rows ? args.self_lse[first + r] : INFINITY;
      pair.self_weight[lower] = fabsf(self_lse) == INFINITY ? 0.0F : __expf(self_lse - lse[lower]);
    }
    wait_copies<1>();
    __syncthreads();

    float dphi[kFeatures / 8][4] = {}, shift[2] = {};
    row_products<kMap, kWidth>(dphi, pair, state, dout, self, row, feature, place);
    row_scales<kMap, kWidth>(pair, lse, state, q, row, place);
    finish_weights<kMap, kWidth>(pair, shift, dphi, state, q, shares, row, feature, part, place);
    finish_dphi<kWidth>(dphi, pair, state, feature, place);
    add_to_dq<kMap, kWidth>(dq, dphi, shift, q, row, feature, place);
    if (part == 0 && place.lane % 4 == 0) {
      PEFT_UNROLL
      for (int lower = 0; lower < 2; ++lower) {
        const int r = row + 8 * lower + place.lane / 4;
        const T high = from_float<T>(-pair.delta[lower]);
        uint4 last{pack<T>(high, from_float<T>(-pair.delta[lower] - to_float(high))), 0U, 0U, 0U};
        memcpy(&last.y, &pair.log_scale[lower], sizeof(float));
        *reinterpret_cast<uint4*>(dout + r * tile_stride(kWidth) + kWidth) = last;
      }
    }
    __syncthreads();

    store_tile<kWidth>(rows_of<T>(args.dq, item.row0 + tile * kRows, head), args.dq.row_stride, dq,
                       rows < kRows ? rows : kRows, thread, kThreads);
    add_tile<kMap>(sums, q, dout, place);
    __syncthreads();
  }
  const int64_t partial = static_cast<int64_t>(blockIdx.x) * shape.heads + head;
  store_partial<kMap, kWidth>(args.partial + partial * ntk_partial_floats(kMap, kWidth), sums, place);
}

constexpr int kNtkSumThreads = 128;

/// A thread has four numbers of one feature.
template <StateMap kMap, int kWidth>
__global__ void __launch_bounds__(kNtkSumThreads) ntk_sum_kernel(NtkBackward args) {
  const NtkShape& shape = args.shape;
  constexpr int kRows = ntk_state_rows(kMap, kWidth), kValues = kRows * kWidth;
  constexpr int64_t kFloats = ntk_partial_floats(kMap, kWidth);
  const int at = 4 * (static_cast<int>(blockIdx.x) * kNtkSumThreads + static_cast<int>(threadIdx.x));
  if (at >= kFloats) return;
  const float4 total = sum_partials(args.partial + at, kFloats, args.first_chunk, shape.heads, shape.state_heads);
  const auto place = [](int row) { return kMap == StateMap::elu ? row : (row + 1) % kRows; };  // as ntk_pack
  const auto state = static_cast<int64_t>(blockIdx.y);
  if (at < kValues) {
    *reinterpret_cast<float4*>(args.dz + state * kValues + place(at / kWidth) * kWidth + at % kWidth) = total;
    return;
  }
  const float den[4] = {total.x, total.y, total.z, total.w};
  PEFT_UNROLL
  for (int j = 0; j < 4; ++j) {
    const int row = at - kValues + j;
    if (row < kRows) args.dden[state * kRows + place(row)] = den[j];
  }
}

template <class T, int kWidth>
int launch_ntk_backward(const NtkBackward& args, void* stream) {
  using Tile = NtkBackwardTile<kWidth>;
  const NtkShape& shape = args.shape;
  if (shape.heads == 0) return 0;
  const bool elu = shape.map == StateMap::elu;
  if (args.chunk_count > 0) {
    const dim3 grid{static_cast<unsigned>(args.chunk_count), static_cast<unsigned>(shape.heads), 1};
    const auto kernel =
        elu ? ntk_backward_kernel<T, kWidth, StateMap::elu> : ntk_backward_kernel<T, kWidth, StateMap::taylor1>;
    if (const int error = launch(kernel, grid, dim3{Tile::kThreads, 1, 1}, Tile::shared_bytes(shape.map), stream, args))
      return error;
  }
  const auto threads = static_cast<unsigned>(ntk_partial_floats(shape.map, kWidth) / 4);
  const dim3 grid{(threads + kNtkSumThreads - 1) / kNtkSumThreads,
                  static_cast<unsigned>(shape.groups * shape.state_heads), 1};
  if (grid.y == 0) return 0;
  const auto kernel = elu ? ntk_sum_kernel<StateMap::elu, kWidth> : ntk_sum_kernel<StateMap::taylor1, kWidth>;
  return launch(kernel, grid, dim3{kNtkSumThreads, 1, 1}, 0, stream, args);
}

}  // namespace peft::cuda
