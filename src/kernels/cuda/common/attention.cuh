#pragma once
/// What kernels of softmax attention are made of: tiles of 64 keys, their products with 16 rows of a warp in registers, the online softmax
/// and the gradients. Which keys a row sees, and what is added to a score, is the caller's `score(lower, column, product)`: for row
/// lane / 4 + 8 lower of the warp and key `column` of the tile, the score divided by `unit`, -inf where the row does not see the key; for dq,
/// `score.left` keys of the tile are there.

#include "src/kernels/cuda/common/dropout.h"
#include "src/kernels/cuda/common/merge.cuh"

namespace peft::cuda {

constexpr int kKeyTile = 64;

/// Keys and values of one head.
template <class T>
struct KeyRows {
  const T *k, *v;
  int64_t k_stride, v_stride;
  int length;
};

/// Keys and values of one head of a table [tables, rows, heads, width], both in one layout.
template <class T>
__device__ __forceinline__ KeyRows<T> table_head(const void* k, const void* v, int64_t table, int rows, int heads,
                                                 int width, int head, int length) {
  const int64_t stride = static_cast<int64_t>(heads) * width, first = table * rows * stride + head * width;
  return {static_cast<const T*>(k) + first, static_cast<const T*>(v) + first, stride, stride, length};
}

/// Begins to copy keys and values of tile `tile`: K, then V.
template <int kWidth, int kThreads, class T>
__device__ __forceinline__ void copy_keys(T* to, const KeyRows<T>& keys, int tile) {
  const int first = tile * kKeyTile, left = keys.length - first;
  copy_tile<kKeyTile, kWidth, kThreads>(to, keys.k + first * keys.k_stride, keys.k_stride, left);
  copy_tile<kKeyTile, kWidth, kThreads>(to + tile_values(kKeyTile, kWidth), keys.v + first * keys.v_stride,
                                        keys.v_stride, left);
}

/// c += A B^T: 16 rows of `a` from `row` on, against 8 kColumns rows of `b`.
template <int kWidth, int kColumns, class T>
__device__ __forceinline__ void multiply_rows(float (&c)[kColumns][4], const T* a, int row, const T* b, int lane) {
  static_assert(kColumns % 2 == 0);
  PEFT_UNROLL
  for (int k = 0; k < kWidth; k += 16) {
    uint32_t x[4];
    load_a<kWidth>(x, a, row, k, lane);
    PEFT_UNROLL
    for (int j = 0; j < kColumns; j += 2) {
      uint32_t y[4];
      load_b<kWidth>(y, b, 8 * j, k, lane);
      multiply<T>(c[j], x, y[0], y[1]);
      multiply<T>(c[j + 1], x, y[2], y[3]);
    }
  }
}

/// Columns 8 k to 8 k + 15 of 16 rows of results, rounded to T, as the left operand of a product.
struct LeftOperand {
  uint32_t a[4];
};
template <class T, int kColumns>
__device__ __forceinline__ LeftOperand left_operand(const float (&p)[kColumns][4], int k) {
  return {{pack_floats<T>(p[k][0], p[k][1]), pack_floats<T>(p[k][2], p[k][3]), pack_floats<T>(p[k + 1][0], p[k + 1][1]),
           pack_floats<T>(p[k + 1][2], p[k + 1][3])}};
}
/// What rounding to T took from them.
template <class T, int kColumns>
__device__ __forceinline__ LeftOperand left_remainder(const LeftOperand& rounded, const float (&p)[kColumns][4],
                                                      int k) {
  LeftOperand rest;
  PEFT_UNROLL
  for (int i = 0; i < 4; ++i)
    rest.a[i] = pack_remainder<T>(rounded.a[i], p[k + i / 2][i % 2 * 2], p[k + i / 2][i % 2 * 2 + 1]);
  return rest;
}

/// c += X B and d += Y B of columns 8 k to 8 k + 15 of X and Y, with one reading of `b`, which has a row for each of their columns.
template <int kWidth, class T>
__device__ __forceinline__ void multiply_both(float (&c)[kWidth / 8][4], const LeftOperand& x,
                                              float (&d)[kWidth / 8][4], const LeftOperand& y, const T* b, int k,
                                              int lane) {
  PEFT_UNROLL
  for (int j = 0; j < kWidth / 8; j += 2) {
    uint32_t z[4];
    load_b_transposed<kWidth>(z, b, 8 * k, 8 * j, lane);
    multiply<T>(c[j], x.a, z[0], z[1]);
    multiply<T>(c[j + 1], x.a, z[2], z[3]);
    multiply<T>(d[j], y.a, z[0], z[1]);
    multiply<T>(d[j + 1], y.a, z[2], z[3]);
  }
}

/// c += P B: 16 rows of results, rounded to T, against as many rows of `b` as they have columns. kExact: with what rounding takes from them.
template <int kWidth, bool kExact, int kColumns, class T>
__device__ __forceinline__ void multiply_results(float (&c)[kWidth / 8][4], const float (&p)[kColumns][4], const T* b,
                                                 int lane) {
  PEFT_UNROLL
  for (int k = 0; k < kColumns; k += 2) {
    const LeftOperand x = left_operand<T>(p, k);
    if (kExact) {
      multiply_both<kWidth>(c, x, c, left_remainder<T>(x, p, k), b, k, lane);
      continue;
    }
    PEFT_UNROLL
    for (int j = 0; j < kWidth / 8; j += 2) {
      uint32_t y[4];
      load_b_transposed<kWidth>(y, b, 8 * k, 8 * j, lane);
      multiply<T>(c[j], x.a, y[0], y[1]);
      multiply<T>(c[j + 1], x.a, y[2], y[3]);
    }
  }
}

/// What dropout keeps of a lane's 4 kBlocks results of a tile, a bit each, and what it multiplies them by.
struct Kept {
  bool active = false;
  uint32_t bits = 0;
  float scale = 1.0F;
  /// Of the results from column `first` on.
  __device__ __forceinline__ Kept from(int first) const { return {active, bits >> (first / 2), scale}; }
  template <int kBlocks>
  __device__ __forceinline__ void apply(float (&x)[kBlocks][4]) const {
    static_assert(kBlocks <= 8);
    if (!active) return;
    PEFT_UNROLL
    for (int j = 0; j < kBlocks; ++j) {
      PEFT_UNROLL
      for (int i = 0; i < 4; ++i) x[j][i] = (bits >> (4 * j + i) & 1U) != 0 ? scale * x[j][i] : 0.0F;
    }
  }
};

/// Of 16 rows by 64 keys: `index` is the first of the 16 among all rows, `count` of them are there; keys begin at `column`. A lane of the
/// four that share a row names two of its eight chunks.
__device__ __forceinline__ Kept kept_of_rows(const NamedDropout& dropout, int64_t index, int count, int head,
                                             bool prefix, int column, int lane) {
  Kept kept;
  if (dropout.streams == nullptr) return kept;
  const int part = lane % 4;
  kept.active = true;
  PEFT_UNROLL
  for (int lower = 0; lower < 2; ++lower) {
    const int r = lane / 4 + 8 * lower;
    const RowMask mask(dropout, index + (r < count ? r : 0));
    kept.scale = mask.stream.scale;  // one adapter's
    PEFT_UNROLL
    for (int side = 0; side < 2; ++side) {
      const MaskChunk chunk =
          mask_chunk(mask.stream, mask.row, mask.step, attention_chunk(head, prefix, column + 8 * (4 * side + part)));
      uint32_t bits = chunk.kept() << (8 * part);
      bits |= __shfl_xor_sync(kAllLanes, bits, 1);
      bits |= __shfl_xor_sync(kAllLanes, bits, 2);
      PEFT_UNROLL
      for (int j = 0; j < 4; ++j) kept.bits |= (bits >> (8 * j + 2 * part) & 3U) << (4 * (4 * side + j) + 2 * lower);
    }
  }
  return kept;
}

/// The same transposed, of 16 keys from `column` on by kRows rows. A lane names the chunks of every 32nd row.
template <int kRows>
__device__ __forceinline__ Kept kept_of_keys(const NamedDropout& dropout, int64_t index, int count, int head,
                                             bool prefix, int column, int lane) {
  Kept kept;
  if (dropout.streams == nullptr) return kept;
  kept.active = true;
  PEFT_UNROLL
  for (int first = 0; first < kRows; first += 32) {
    const int r = first + lane;
    const RowMask mask(dropout, index + (r < count ? r : 0));
    kept.scale = mask.stream.scale;
    uint32_t bits = 0;
    PEFT_UNROLL
    for (int lower = 0; lower < 2; ++lower) {
      bits |= mask_chunk(mask.stream, mask.row, mask.step, attention_chunk(head, prefix, column + 8 * lower)).kept()
              << (8 * lower);
    }
    PEFT_UNROLL
    for (int j = 0; j < 4; ++j) {
      PEFT_UNROLL
      for (int i = 0; i < 2; ++i) {
        const uint32_t of_row = __shfl_sync(kAllLanes, bits, 8 * j + 2 * (lane % 4) + i) >> (lane / 4);
        kept.bits |= ((of_row & 1U) << i | (of_row >> 8 & 1U) << (2 + i)) << (4 * (first / 8 + j));
      }
    }
  }
  return kept;
}

/// The online softmax of a warp's 16 rows, as a lane has it.
///   m' = max(m, unit max_j s_j)   f = e^{m - m'}   l = f l + sum_j e^{unit s_j - m'}   acc = f acc + e^{unit s - m'} V
///   O = acc / l   L = m + log l
/// m is in units of the natural logarithm; exponents are taken in base 2.
template <int kWidth>
struct SoftmaxRows {
  float values[kWidth / 8][4] = {};
  float largest[2] = {-INFINITY, -INFINITY}, sum[2] = {};  ///< sum: this lane's share
};

/// One tile of keys. What is dropped counts in l.
template <int kWidth, class T, class Score>
__device__ __forceinline__ void merge_keys(SoftmaxRows<kWidth>& rows, const T* q, const T* keys, int row, float unit,
                                           const Kept& kept, int lane, const Score& score) {
  float scores[kKeyTile / 8][4] = {};
  multiply_rows<kWidth>(scores, q, row, keys, lane);
  PEFT_UNROLL
  for (int j = 0; j < kKeyTile / 8; ++j) {
    PEFT_UNROLL
    for (int i = 0; i < 4; ++i) scores[j][i] = score(i / 2, 8 * j + 2 * (lane % 4) + i % 2, scores[j][i]);
  }
  PEFT_UNROLL
  for (int lower = 0; lower < 2; ++lower) {
    float largest = -INFINITY;
    PEFT_UNROLL
    for (int j = 0; j < kKeyTile / 8; ++j)
      largest = fmaxf(largest, fmaxf(scores[j][2 * lower], scores[j][2 * lower + 1]));
    largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 1));
    largest = fmaxf(rows.largest[lower], unit * fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 2)));
    const float at = largest == -INFINITY ? 0.0F : largest;  // nothing seen yet: every term below is e^-inf
    const float factor = exp2f(kLog2E * (rows.largest[lower] - at)), shift = kLog2E * at;
    rows.largest[lower] = largest;
    rows.sum[lower] *= factor;
    PEFT_UNROLL
    for (int j = 0; j < kWidth / 8; ++j) {
      rows.values[j][2 * lower] *= factor;
      rows.values[j][2 * lower + 1] *= factor;
    }
    PEFT_UNROLL
    for (int j = 0; j < kKeyTile / 8; ++j) {
      PEFT_UNROLL
      for (int i = 2 * lower; i < 2 * lower + 2; ++i) {
        scores[j][i] = exp2f(kLog2E * unit * scores[j][i] - shift);
        rows.sum[lower] += scores[j][i];
      }
    }
  }
  kept.apply(scores);
  multiply_results<kWidth, false>(rows.values, scores, keys + tile_values(kKeyTile, kWidth), lane);
}

/// O over the warp's own rows of `tile`, from `row` on, and to `out`; L to `lse`. Both start at the block's first row, of `count`. A row
/// that saw nothing gets 0 and -inf.
template <int kWidth, class T>
__device__ __forceinline__ void finish_rows(const SoftmaxRows<kWidth>& rows, T* tile, int row, T* out, int64_t stride,
                                            float* lse, int count, int lane) {
  PEFT_UNROLL
  for (int lower = 0; lower < 2; ++lower) {
    const int r = row + 8 * lower + lane / 4;
    const float sum = row_sum(rows.sum[lower]), inverse = sum == 0.0F ? 0.0F : 1.0F / sum;
    PEFT_UNROLL
    for (int j = 0; j < kWidth / 8; ++j) {
      *reinterpret_cast<uint32_t*>(tile + r * tile_stride(kWidth) + 8 * j + 2 * (lane % 4)) =
          pack_floats<T>(inverse * rows.values[j][2 * lower], inverse * rows.values[j][2 * lower + 1]);
    }
    if (lane % 4 == 0 && r < count) lse[r] = sum == 0.0F ? -INFINITY : rows.largest[lower] + logf(sum);
  }
  __syncwarp();
  store_tile<kWidth>(out + row * stride, stride, tile + row * tile_stride(kWidth), count - row < 16 ? count - row : 16,
                     lane, 32);
}

/// log2(e) L of row `row` of `count`; +inf for rows that take no part, so that their probabilities are 0.
__device__ __forceinline__ float exponent_of(const float* lse, int row, int count) {
  const float x = row < count ? lse[row] : INFINITY;
  return kLog2E * (x == -INFINITY ? INFINITY : x);
}

/// delta = rowsum(dO * O) of a warp's rows g and g + 8.
template <int kWidth, class T>
__device__ __forceinline__ void row_deltas(float (&delta)[2], const T* dout, const T* out, int row, int lane) {
  PEFT_UNROLL
  for (int k = 0; k < kWidth; k += 16) {
    uint32_t a[4], b[4];
    load_a<kWidth>(a, dout, row, k, lane);
    load_a<kWidth>(b, out, row, k, lane);
    PEFT_UNROLL
    for (int i = 0; i < 4; ++i) {
      const float2 x = unpack<T>(a[i]), y = unpack<T>(b[i]);
      delta[i % 2] += x.x * y.x + x.y * y.y;
    }
  }
  delta[0] = row_sum(delta[0]);
  delta[1] = row_sum(delta[1]);
}

/// What a warp's 16 rows sum over keys for dq, whose scale comes later. delta = sum_j p_j (mask dO . v_j) is known only when all keys were
/// seen, so ds is taken with an estimate of it, and what that lacked is taken back at the end:
///   ds_j = p_j (mask dO . v_j - estimate)     delta = estimate + excess     dq = sum_j ds_j k_j - excess sum_j p_j k_j
/// ds is multiplied as 16 bits, whose errors do not add up to 0 as it does: what keys have in common would enter dq. So the sum of the errors
/// is taken back with the excess.
template <int kWidth>
struct QueryGradients {
  float dq[kWidth / 8][4] = {}, p_keys[kWidth / 8][4] = {};  ///< sum_j ds_j k_j, sum_j p_j k_j
  float ds[2] = {}, p[2] = {}, rounding[2] = {};  ///< this lane's share of sum_j ds_j, p_j, and (rounded ds_j - ds_j)
};
/// sum_j ds_j / sum_j p_j, over these keys and what others add. The divisor is 1 but for the rounding of s - L, which would not cancel in ds
/// where one key takes nearly all of a row.
template <int kWidth>
__device__ __forceinline__ float excess_of(const QueryGradients<kWidth>& sums, int lower, float ds = 0.0F,
                                           float p = 0.0F) {
  ds += row_sum(sums.ds[lower]);
  p += row_sum(sums.p[lower]);
  return p == 0.0F ? 0.0F : ds / p;
}

/// One tile of keys, 8 kColumns at a time, which leaves registers for p_keys. p = e^{unit s - L}; `exponent` is log2(e) L.
template <int kWidth, int kColumns = 4, class T, class Score>
__device__ __forceinline__ void add_query_gradients(QueryGradients<kWidth>& sums, const T* q, const T* dout,
                                                    const T* keys, int row, const float (&exponent)[2],
                                                    const float (&estimate)[2], float unit, const Kept& kept, int lane,
                                                    const Score& score) {
  PEFT_KEEP_LOOP
  for (int first = 0; first < kKeyTile && first < score.left; first += 8 * kColumns) {
    const T* part = keys + first * tile_stride(kWidth);
    float scores[kColumns][4] = {}, products[kColumns][4] = {};
    multiply_rows<kWidth>(products, dout, row, part + tile_values(kKeyTile, kWidth), lane);
    kept.from(first).apply(products);
    multiply_rows<kWidth>(scores, q, row, part, lane);
    PEFT_UNROLL
    for (int k = 0; k < kColumns; k += 2) {
      LeftOperand p, ds;
      PEFT_UNROLL
      for (int i = 0; i < 4; ++i) {  // two neighbours of row lane / 4 + 8 (i % 2)
        const int j = k + i / 2, lower = i % 2;
        float of_p[2], of_ds[2];
        PEFT_UNROLL
        for (int side = 0; side < 2; ++side) {
          const float s = score(lower, first + 8 * j + 2 * (lane % 4) + side, scores[j][2 * lower + side]);
          of_p[side] = exp2f(kLog2E * unit * s - exponent[lower]);
          of_ds[side] = of_p[side] * (products[j][2 * lower + side] - estimate[lower]);
          sums.p[lower] += of_p[side];
          sums.ds[lower] += of_ds[side];
        }
        p.a[i] = pack_floats<T>(of_p[0], of_p[1]);
        ds.a[i] = pack_floats<T>(of_ds[0], of_ds[1]);
        const float2 rounded = unpack<T>(ds.a[i]);
        sums.rounding[lower] += (rounded.x - of_ds[0]) + (rounded.y - of_ds[1]);
      }
      multiply_both<kWidth>(sums.dq, ds, sums.p_keys, p, part, k, lane);
    }
  }
}

/// dq = scale (sums.dq - (excess + rounding / p) sums.p_keys), kAdd: and what is in `tile`, over the warp's own rows of it, and to `dq`;
/// estimate + excess to `deltas`. All start at the block's first row, of `count`.
template <int kWidth, bool kAdd, class T>
__device__ __forceinline__ void finish_query_gradients(const QueryGradients<kWidth>& sums, const float (&estimate)[2],
                                                       const float (&excess)[2], float scale, T* tile, int row, T* dq,
                                                       int64_t stride, float* deltas, int count, int lane) {
  PEFT_UNROLL
  for (int lower = 0; lower < 2; ++lower) {
    const int r = row + 8 * lower + lane / 4;
    const float p = row_sum(sums.p[lower]), rounding = row_sum(sums.rounding[lower]),
                back = excess[lower] + (p == 0.0F ? 0.0F : rounding / p);
    PEFT_UNROLL
    for (int j = 0; j < kWidth / 8; ++j) {
      auto* at = reinterpret_cast<uint32_t*>(tile + r * tile_stride(kWidth) + 8 * j + 2 * (lane % 4));
      const float2 own = kAdd ? unpack<T>(*at) : make_float2(0.0F, 0.0F);
      const auto result = [&](int i) { return scale * (sums.dq[j][i] - back * sums.p_keys[j][i]); };
      *at = pack_floats<T>(own.x + result(2 * lower), own.y + result(2 * lower + 1));
    }
    if (lane % 4 == 0 && r < count) deltas[r] = estimate[lower] + excess[lower];
  }
  __syncwarp();
  store_tile<kWidth>(dq + row * stride, stride, tile + row * tile_stride(kWidth), count - row < 16 ? count - row : 16,
                     lane, 32);
}

/// dK and dV, without the scale of dK, of a warp's 16 keys from `key` on. Everything is transposed: results are keys by rows, P^T and ds^T
/// become left operands in registers, and the gradients stay there over all rows.
template <int kWidth>
struct KeyGradients {
  float dk[kWidth / 8][4] = {}, dv[kWidth / 8][4] = {};
};
/// What kRows rows add; `exponents` and `deltas` of them in shared memory. score(lower, column, product): of key lane / 4 + 8 lower and
/// row `column`.
template <int kWidth, int kRows, bool kExact, class T, class Score>
__device__ __forceinline__ void add_rows(KeyGradients<kWidth>& sums, const T* k, const T* v, int key, const T* q,
                                         const T* dout, const float* exponents, const float* deltas, float unit,
                                         const Kept& kept, int lane, const Score& score) {
  constexpr int kStep = kExact && kWidth > 96 ? 16 : 32;  // what registers hold
  PEFT_KEEP_LOOP
  for (int first = 0; first < kRows; first += kStep) {
    const T *q_part = q + first * tile_stride(kWidth), *dout_part = dout + first * tile_stride(kWidth);
    const Kept of_part = kept.from(first);
    float scores[kStep / 8][4] = {}, products[kStep / 8][4] = {};
    multiply_rows<kWidth>(products, v, key, dout_part, lane);
    of_part.apply(products);
    multiply_rows<kWidth>(scores, k, key, q_part, lane);
    PEFT_UNROLL
    for (int j = 0; j < kStep / 8; ++j) {
      const int column = first + 8 * j + 2 * (lane % 4);
      const float2 exponent = *reinterpret_cast<const float2*>(exponents + column),
                   delta = *reinterpret_cast<const float2*>(deltas + column);
      PEFT_UNROLL
      for (int i = 0; i < 4; ++i) {
        const float s = score(i / 2, column + i % 2, scores[j][i]);
        scores[j][i] = exp2f(kLog2E * unit * s - (i % 2 == 0 ? exponent.x : exponent.y));     // P^T
        products[j][i] = scores[j][i] * (products[j][i] - (i % 2 == 0 ? delta.x : delta.y));  // ds^T
      }
    }
    of_part.apply(scores);
    multiply_results<kWidth, kExact>(sums.dv, scores, dout_part, lane);
    multiply_results<kWidth, kExact>(sums.dk, products, q_part, lane);
  }
}

}  // namespace peft::cuda
