#pragma once
/// A bank of low-rank additions: rows [T] sorted by adapter, group k = rows [group_rows[k], group_rows[k+1]); rows before
/// group_rows[0] have no adapter. No torch, no CUDA header.      [Hu et al. 2021, arXiv:2106.09685]
///
///   forward    h = s_k D(x) A_k               shrink, A_KCR                       y += h B_k              expand, B_KRO
///   backward   dh = s_k dy B_k^T              shrink, B_KRO                       dx += D(dh A_k^T)       expand, A_KCR
///              dA_k = D(x)^T dh               gradient, A_KCR                     dB_k = h^T dy           gradient, B_KRO
///
/// Three kernels serve all six products, as both factors come in both layouts: in [K, wide, rank] (A) and in [K, rank, wide] (B).
/// D is dropout with the masks of common/dropout.h. Values bfloat16, half or float32; sums, factors and gradients float32.
///
/// Layouts: x, y [T, wide], wide a multiple of 8; h [T, rank rounded up to 8], rank 1..128, columns from rank on zero (shrink writes them
/// so). Last dimension contiguous, row strides in elements and multiples of 8, pointers 16-byte aligned.
/// Rows of no group are neither read nor written. Bitwise repeatable, and a group's results depend on its own rows alone: no atomics, and
/// work items start at the group's first row.

#include <cstdint>
#include <vector>

#include "src/kernels/cuda/common/dropout.h"
#include "src/kernels/cuda/common/element.h"

namespace peft::cuda {

/// Rows [row0, row0 + rows) of one group: the work of a block. rows = 0: nothing to do.
struct GroupItem {
  int32_t row0, rows, group;
};
constexpr int32_t kGroupTileRows = 64;    ///< at most, of an item of shrink and expand
constexpr int32_t kGroupChunkRows = 256;  ///< of an item of gradient, whose partial sums are added per group
constexpr int32_t kMaxRank = 128;

struct GroupedWorkList {
  std::vector<GroupItem> tiles;      ///< ceil(T / 64) + K, whatever the groups: the last ones are empty
  std::vector<GroupItem> chunks;     ///< ceil(T / 256) + K
  std::vector<int32_t> first_chunk;  ///< [K+1], into chunks
};
/// Throws std::invalid_argument unless 0 <= group_rows[0] <= ... <= group_rows[K] = rows.
GroupedWorkList grouped_work_list(const std::vector<int32_t>& group_rows, int32_t rows);

/// [K+1], of the adapter of each row (-1: none). Throws std::invalid_argument when rows are not sorted by adapter.
std::vector<int32_t> group_rows_of(const std::vector<int32_t>& adapter_of_row, int32_t adapters);

enum class FactorLayout : int32_t { wide_by_rank, rank_by_wide };  ///< A_KCR, B_KRO

/// h = scale_k D(x) W_k.
struct GroupedShrink {
  Element type = {};
  FactorLayout layout = {};
  int32_t wide = 0, rank = 0;
  const void* x = nullptr;
  int64_t x_stride = 0;
  const void* weight = nullptr;
  void* h = nullptr;
  int64_t h_stride = 0;
  const float* scale = nullptr;  ///< [K], null: 1
  NamedDropout dropout = {};     ///< row t of x: entry t; its adapter is its group
  const GroupItem* tiles = nullptr;
  int32_t tile_count = 0;
};

/// y = scale_k D(h W_k), added to what y holds when `accumulate`.
struct GroupedExpand {
  Element type = {};
  FactorLayout layout = {};
  int32_t wide = 0, rank = 0;
  const void* h = nullptr;
  int64_t h_stride = 0;
  const void* weight = nullptr;
  void* y = nullptr;
  int64_t y_stride = 0;
  bool accumulate = false;
  const float* scale = nullptr;
  NamedDropout dropout = {};
  const GroupItem* tiles = nullptr;
  int32_t tile_count = 0;
};

/// dW_k = scale_k D(x)^T h over the rows of group k, or its transpose when rank_by_wide; zero for an empty group.
struct GroupedGradient {
  Element type = {};
  FactorLayout layout = {};
  int32_t wide = 0, rank = 0;
  const void* x = nullptr;
  int64_t x_stride = 0;
  const void* h = nullptr;
  int64_t h_stride = 0;
  float* gradient = nullptr;  ///< [K, wide, rank] or [K, rank, wide]
  bool accumulate = false;
  const float* scale = nullptr;
  NamedDropout dropout = {};
  const GroupItem* chunks = nullptr;
  const int32_t* first_chunk = nullptr;
  int32_t chunk_count = 0, groups = 0;
  float* partial = nullptr;  ///< [chunk_count, wide rank], scratch
};

/// y = D(x), with `accumulate` (the backward) y += D(x), in every row; D is the identity in rows without adapter.
struct RowDropout {
  Element type = {};
  int32_t rows = 0, wide = 0;
  const void* x = nullptr;
  int64_t x_stride = 0;
  void* y = nullptr;
  int64_t y_stride = 0;
  bool accumulate = false;
  NamedDropout dropout = {};
};

/// 0, or CUDA's error number; cudaErrorInvalidValue (1) for a rank outside 1..128, a width or stride that is not a multiple of 8, or a
/// pointer that is not aligned.
int grouped_shrink(const GroupedShrink& product, void* stream);
int grouped_expand(const GroupedExpand& product, void* stream);
int grouped_gradient(const GroupedGradient& product, void* stream);
int row_dropout(const RowDropout& dropout, void* stream);

}  // namespace peft::cuda
