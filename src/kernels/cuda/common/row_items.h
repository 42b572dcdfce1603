#pragma once
/// What attention kernels are given: packed rows of heads, and which rows of which group a block takes.

#include <cstdint>
#include <vector>

#include "src/kernels/cuda/common/element.h"

namespace peft::cuda {

/// [T,H,D], D contiguous; strides in elements. Kernels want both strides to be multiples of 8 and the data 16-byte aligned.
struct HeadRows {
  void* data = nullptr;
  int64_t row_stride = 0, head_stride = 0;
};

/// Consecutive rows of one group (-1: of none); without rows there is nothing to do.
struct RowItem {
  int32_t row0, rows, group;
};

/// Items sorted by row, filled up with empty ones to a size that batches of one shape share.
struct RowPlan {
  std::vector<RowItem> items;
  std::vector<int32_t> first_item;  ///< [K+1], of each group
};
/// Items at most, when each has at most `most` rows.
constexpr int64_t row_item_bound(int64_t rows, int64_t groups, int most) { return rows / most + groups + 1; }

/// group_rows [K+1]: the first row of each group, and T. Rows before the first group's have none. A group's items are the same whatever
/// is beside it. Throws std::invalid_argument when group_rows decreases.
RowPlan plan_row_items(const std::vector<int32_t>& group_rows, int most);

}  // namespace peft::cuda
