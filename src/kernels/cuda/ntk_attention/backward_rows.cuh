#pragma once
/// ntk_attention, backward: what a warp does with 16 rows and its part of the features (backward.cuh).

#include "src/kernels/cuda/ntk_attention/features.cuh"

namespace peft::cuda {

/// How far from 1 the rounding of phi may take a row's weights: 2^-9 in bfloat16, more where terms of taylor1's b cancel.
constexpr float kNtkWeightError = 0.03F;

template <int kWidth>
struct NtkBackwardTile {
  static constexpr int kRowWarps = kWidth == 80 ? 5 : kWidth == 96 ? 3 : kWidth == 128 ? 2 : 4;
  static constexpr int kParts = kWidth == 96 ? 2 : kWidth == 128 ? 4 : 1;  ///< of the features, while warps take rows
  static constexpr int kRows = 16 * kRowWarps, kWarps = kRowWarps * kParts, kThreads = 32 * kWarps;
  static constexpr int kColumnParts = 16 * kWarps / kWidth;  ///< of the columns, while warps take features
  static constexpr int kBlocks = kWidth == 32 ? 4 : kWidth == 64 || kWidth == 96 ? 2 : 1;  ///< a multiprocessor
  static constexpr int kShares = kParts > 1 ? 2 * kParts : 0;  ///< floats of a row that the parts leave for each other
  static constexpr std::size_t shared_bytes(StateMap map) {
    return 2 * (tile_values(ntk_state_rows(map, kWidth), kWidth) + 8 * tile_values(kRows, kWidth)) +
           4 * kShares * kRows;
  }
  static_assert(ntk_chunk_rows(kWidth) % kRows == 0 && 16 * kWarps % kWidth == 0 && kWidth / 8 % (2 * kParts) == 0);
};

/// What a lane needs about its rows g and g + 8.
struct NtkRowPair {
  float delta[2];                      ///< first dO . O_s
  float constant[2];                   ///< dO Z^T of taylor1's constant feature
  float self_weight[2], log_scale[2];  ///< e^{L_s - L}, log g
  float g[2];
};

/// One head's queries and state, and where a thread stands.
struct NtkPlace {
  int warp, lane, pair;  ///< pair: the first of the two columns of this lane in a 16x8 result
  float root, scale;
  const float* center;
};

/// dO . O_s, and dO Z^T for part of the features, of a warp's 16 rows.
template <StateMap kMap, int kWidth, int kColumns, class T>
__device__ __forceinline__ void row_products(float (&dphi)[kColumns][4], NtkRowPair& rows, const T* state,
                                             const T* dout, const T* self, int row, int feature,
                                             const NtkPlace& place) {
  PEFT_KEEP_LOOP
  for (int k = 0; k < kWidth; k += 16) {
    uint32_t a[4], o[4];
    load_a<kWidth>(a, dout, row, k, place.lane);
    load_a<kWidth>(o, self, row, k, place.lane);
    PEFT_UNROLL
    for (int i = 0; i < 4; ++i) {
      const float2 x = unpack<T>(a[i]), y = unpack<T>(o[i]);
      rows.delta[i % 2] += x.x * y.x + x.y * y.y;
      if (kMap == StateMap::taylor1) {
        uint32_t pair;
        memcpy(&pair, state + tile_values(kWidth, kWidth) + k + 8 * (i / 2) + place.pair, 4);
        const float2 z = unpack<T>(pair);
        rows.constant[i % 2] += x.x * z.x + x.y * z.y;
      }
    }
    PEFT_UNROLL
    for (int j = 0; j < kColumns; j += 2) {
      uint32_t z[4];
      load_b<kWidth>(z, state, feature + 8 * j, k, place.lane);
      multiply<T>(dphi[j], a, z[0], z[1]);
      multiply<T>(dphi[j + 1], a, z[2], z[3]);
    }
  }
  PEFT_UNROLL
  for (int lower = 0; lower < 2; ++lower) {
    rows.delta[lower] = row_sum(rows.delta[lower]);
    rows.constant[lower] = row_sum(rows.constant[lower]);
  }
}

/// log g from L. b and c exactly as the forward pass has them, or a row could be off in one of the two alone.
template <StateMap kMap, int kWidth, class T>
__device__ __forceinline__ void row_scales(NtkRowPair& rows, const float (&lse)[2], const T* state, const T* q, int row,
                                           const NtkPlace& place) {
  float b[4] = {}, shift[2] = {};
  if (kMap == StateMap::taylor1 || place.center != nullptr) {
    if (kMap == StateMap::taylor1) {
      uint32_t pair;
      memcpy(&pair, state + tile_values(kWidth, kWidth) + kWidth + place.pair, 4);
      const float2 constant = unpack<T>(pair);
      b[0] = b[2] = constant.x;
      b[1] = b[3] = constant.y;
    }
    PEFT_KEEP_LOOP
    for (int k = 0; k < kWidth; k += 16) {
      uint32_t phi[4];
      load_a<kWidth>(phi, q, row, k, place.lane);
      if (place.center != nullptr) add_center<T>(shift, phi, place.center + k, place.lane);
      if (kMap == StateMap::taylor1) {
        PEFT_UNROLL
        for (int i = 0; i < 4; ++i) phi[i] = feature_pair<kMap, T>(phi[i], place.root);
        uint32_t den[4];
        load_b_transposed_half<kWidth>(den, state, k, kWidth, place.lane);
        multiply<T>(b, phi, den[0], den[1]);
      }
    }
  }
  PEFT_UNROLL
  for (int lower = 0; lower < 2; ++lower) {
    const bool off =
        kMap == StateMap::taylor1 && switched_off<kMap>(__shfl_sync(kAllLanes, b[2 * lower], place.lane / 4 * 4));
    const float c = place.center == nullptr ? 0.0F : place.scale * row_sum(shift[lower]);
    rows.log_scale[lower] = log_row_scale(off, c, lse[lower]);
  }
}

/// delta and shift = phi . dphi of whole rows, from what each part of the features has of them. All threads of the block.
/// As rowsum(dO * O) of the rounded O, a delta that is small by chance would be rounding, and with few rows dden, too. The weights add up to 1
/// but for the rounding of phi that entered L: their sum is divided out, unless it is off for another reason (no keys and b near 0, a clamped g).
template <StateMap kMap, int kWidth, int kColumns, class T>
__device__ __forceinline__ void finish_weights(NtkRowPair& rows, float (&shift)[2], const float (&dphi)[kColumns][4],
                                               const T* state, const T* q, float* shares, int row, int feature,
                                               int part, const NtkPlace& place) {
  constexpr int kParts = NtkBackwardTile<kWidth>::kParts, kRows = NtkBackwardTile<kWidth>::kRows;
  float sums[2][2] = {};  // of each row: phi . dO Z^T, phi . den
  PEFT_UNROLL
  for (int j = 0; j < kColumns; ++j) {
    const T* den = state + (feature + 8 * j + place.pair) * tile_stride(kWidth) + kWidth;
    const float den0 = to_float(den[0]), den1 = to_float(den[tile_stride(kWidth)]);
    PEFT_UNROLL
    for (int lower = 0; lower < 2; ++lower) {
      uint32_t pair;
      memcpy(&pair, q + (row + 8 * lower + place.lane / 4) * tile_stride(kWidth) + feature + 8 * j + place.pair, 4);
      const float2 x = unpack<T>(pair);
      const float phi0 = feature_of<kMap>(x.x * place.root), phi1 = feature_of<kMap>(x.y * place.root);
      sums[lower][0] += phi0 * dphi[j][2 * lower] + phi1 * dphi[j][2 * lower + 1];
      sums[lower][1] += phi0 * den0 + phi1 * den1;
    }
  }
  const float den = kMap == StateMap::taylor1 ? to_float(state[tile_values(kWidth, kWidth) + kWidth]) : 0.0F;
  PEFT_UNROLL
  for (int lower = 0; lower < 2; ++lower) {
    const int r = row + 8 * lower + place.lane / 4;
    const float constant[2] = {rows.constant[lower], den};
    PEFT_UNROLL
    for (int i = 0; i < 2; ++i) {
      sums[lower][i] = row_sum(sums[lower][i]);
      if (kMap == StateMap::taylor1 && part == 0) sums[lower][i] += constant[i];
      if (kParts > 1 && place.lane % 4 == 0) shares[(i * kParts + part) * kRows + r] = sums[lower][i];
    }
  }
  if (kParts > 1) __syncthreads();
  PEFT_UNROLL
  for (int lower = 0; lower < 2; ++lower) {
    if (kParts > 1) {
      PEFT_UNROLL
      for (int i = 0; i < 2; ++i) {
        sums[lower][i] = 0.0F;
        for (int p = 0; p < kParts; ++p)
          sums[lower][i] += shares[(i * kParts + p) * kRows + row + 8 * lower + place.lane / 4];
      }
    }
    const bool off = rows.log_scale[lower] == -INFINITY;  // selected: 0 times infinity is not 0
    const float weight = rows.self_weight[lower], g = __expf(rows.log_scale[lower]),
                total = weight + (off ? 0.0F : g * sums[lower][1]),
                inverse = fabsf(total - 1.0F) < kNtkWeightError ? 1.0F / total : 1.0F;
    rows.g[lower] = off ? 0.0F : inverse * g;
    rows.log_scale[lower] += logf(inverse);
    rows.delta[lower] =
        (weight == 0.0F ? 0.0F : inverse * weight * rows.delta[lower]) + (off ? 0.0F : rows.g[lower] * sums[lower][0]);
    shift[lower] = off ? 0.0F : rows.g[lower] * (sums[lower][0] - rows.delta[lower] * sums[lower][1]);
  }
}

/// dphi in place of dO Z^T.
template <int kWidth, int kColumns, class T>
__device__ __forceinline__ void finish_dphi(float (&dphi)[kColumns][4], const NtkRowPair& rows, const T* state,
                                            int feature, const NtkPlace& place) {
  PEFT_UNROLL
  for (int j = 0; j < kColumns; ++j) {
    const T* den = state + (feature + 8 * j + place.pair) * tile_stride(kWidth) + kWidth;
    const float den0 = to_float(den[0]), den1 = to_float(den[tile_stride(kWidth)]);
    PEFT_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int lower = i / 2;
      const bool off = rows.log_scale[lower] == -INFINITY;
      dphi[j][i] = off ? 0.0F : rows.g[lower] * (dphi[j][i] - rows.delta[lower] * (i % 2 == 0 ? den0 : den1));
    }
  }
}

/// dq += sqrt(scale) phi'(y) dphi + scale (phi . dphi) center in shared memory, rounded once.
template <StateMap kMap, int kWidth, int kColumns, class T>
__device__ __forceinline__ void add_to_dq(T* dq, const float (&dphi)[kColumns][4], const float (&shift)[2], const T* q,
                                          int row, int feature, const NtkPlace& place) {
  PEFT_UNROLL
  for (int j = 0; j < kColumns; ++j) {
    const int column = feature + 8 * j + place.pair;
    float2 center = make_float2(0.0F, 0.0F);
    if (place.center != nullptr) center = *reinterpret_cast<const float2*>(place.center + column);
    PEFT_UNROLL
    for (int lower = 0; lower < 2; ++lower) {
      const int at = (row + 8 * lower + place.lane / 4) * tile_stride(kWidth) + column;
      uint32_t pair;
      memcpy(&pair, q + at, 4);
      const float2 x = unpack<T>(pair);
      auto* target = reinterpret_cast<uint32_t*>(dq + at);
      float2 sum = unpack<T>(*target);
      sum.x += place.root * feature_slope<kMap>(x.x * place.root) * dphi[j][2 * lower];
      sum.y += place.root * feature_slope<kMap>(x.y * place.root) * dphi[j][2 * lower + 1];
      if (place.center != nullptr) {
        sum.x += place.scale * shift[lower] * center.x;
        sum.y += place.scale * shift[lower] * center.y;
      }
      *target = pack_floats<T>(sum.x, sum.y);
    }
  }
}

}  // namespace peft::cuda
