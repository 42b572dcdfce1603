#pragma once
/// Norms of rows in registers (rows.cuh), forward and backward. Columns behind the row's end hold 0.

#include "src/kernels/cuda/common/norm.h"
#include "src/kernels/cuda/common/rows.cuh"

namespace peft::cuda {

struct RowStatistics {
  float mean, rstd;
};

/// Floats of shared memory of one normalise_row: the pivot and two sums, each used once.
template <int Threads>
constexpr int normalise_floats() {
  return Threads == kWarp ? 0 : 1 + 2 * group_sum_floats<Threads>(1);
}

/// s becomes xhat. The mean is taken of differences to the row's first value: a large common offset costs no precision, a constant row
/// becomes exactly 0.
template <int Threads, int Chunks>
__device__ __forceinline__ RowStatistics normalise_row(float (&s)[Chunks][kChunk], int columns, NormKind kind,
                                                       float eps, float* scratch) {
  const auto count = static_cast<float>(columns);
  float mean = 0.0F;
  if (kind == NormKind::layer_norm) {
    const float pivot = group_first<Threads>(s[0][0], scratch);
    float sum[1] = {0.0F};
    for (int i = 0; i < Chunks; ++i) {
      if (chunk_column<Threads>(i) >= columns) continue;
      for (int j = 0; j < kChunk; ++j) {
        s[i][j] -= pivot;
        sum[0] += s[i][j];
      }
    }
    group_sum<Threads>(sum, scratch + 1);
    const float offset = sum[0] / count;
    mean = pivot + offset;
    for (int i = 0; i < Chunks; ++i) {
      if (chunk_column<Threads>(i) >= columns) continue;
      for (int j = 0; j < kChunk; ++j) s[i][j] -= offset;
    }
  }
  float squares[1] = {0.0F};
  for (int i = 0; i < Chunks; ++i) {
    for (int j = 0; j < kChunk; ++j) squares[0] += s[i][j] * s[i][j];
  }
  group_sum<Threads>(squares, scratch + 1 + group_sum_floats<Threads>(1));
  const float rstd = 1.0F / sqrtf(squares[0] / count + eps);
  for (int i = 0; i < Chunks; ++i) {
    for (int j = 0; j < kChunk; ++j) s[i][j] *= rstd;
  }
  return {mean, rstd};
}

template <class T, int Threads, int Chunks>
__device__ __forceinline__ void scale_by_gamma(float (&x)[Chunks][kChunk], int columns, const FrozenNorm& norm) {
  for (int i = 0; norm.gamma != nullptr && i < Chunks; ++i) {
    const int column = chunk_column<Threads>(i);
    if (column >= columns) continue;
    float gamma[kChunk];
    load_chunk(static_cast<const T*>(norm.gamma) + column, gamma);
    for (int j = 0; j < kChunk; ++j) x[i][j] *= gamma[j];
  }
}

/// x gamma + beta.
template <class T, int Threads, int Chunks>
__device__ __forceinline__ void apply_affine(float (&x)[Chunks][kChunk], int columns, const FrozenNorm& norm) {
  scale_by_gamma<T, Threads>(x, columns, norm);
  for (int i = 0; norm.beta != nullptr && i < Chunks; ++i) {
    const int column = chunk_column<Threads>(i);
    if (column >= columns) continue;
    float beta[kChunk];
    load_chunk(static_cast<const T*>(norm.beta) + column, beta);
    for (int j = 0; j < kChunk; ++j) x[i][j] += beta[j];
  }
}

/// Floats of shared memory of one norm_gradient_row.
template <int Threads>
constexpr int norm_gradient_floats() {
  return group_sum_floats<Threads>(3);
}

/// g = gamma dy becomes the gradient of the row: rstd (g - mean(g) - xhat mean(g xhat)), without mean(g) for rms_norm. xhat is
/// (d - mean(d)) scale for layer_norm, d scale for rms_norm: a saved mean is rounded, and the mean of what it leaves over says by how much.
template <int Threads, int Chunks>
__device__ __forceinline__ void norm_gradient_row(float (&g)[Chunks][kChunk], const float (&d)[Chunks][kChunk],
                                                  int columns, NormKind kind, float scale, float rstd, float* scratch) {
  float sums[3] = {0.0F, 0.0F, 0.0F};
  for (int i = 0; i < Chunks; ++i) {
    for (int j = 0; j < kChunk; ++j) {
      sums[0] += g[i][j];
      sums[1] += g[i][j] * d[i][j];
      sums[2] += d[i][j];
    }
  }
  group_sum<Threads>(sums, scratch);
  const auto count = static_cast<float>(columns);
  const bool centred = kind == NormKind::layer_norm;
  const float left = centred ? sums[2] / count : 0.0F, mean_g = centred ? sums[0] / count : 0.0F;
  const float slope = scale * scale * (sums[1] - left * sums[0]) / count;
  for (int i = 0; i < Chunks; ++i) {
    for (int j = 0; j < kChunk; ++j) g[i][j] = rstd * (g[i][j] - mean_g - (d[i][j] - left) * slope);
  }
}

}  // namespace peft::cuda
