#include <algorithm>
#include <stdexcept>
#include <string>

#include "src/kernels/cuda/grouped_matmul/api.h"

namespace peft::cuda {
namespace {

/// Appends the rows of one group, cut from its first row on.
void cut(std::vector<GroupItem>& items, int32_t begin, int32_t end, int32_t group, int32_t most) {
  for (int32_t row = begin; row < end; row += most) items.push_back({row, std::min(most, end - row), group});
}

}  // namespace

GroupedWorkList grouped_work_list(const std::vector<int32_t>& group_rows, int32_t rows) {
  if (group_rows.empty()) throw std::invalid_argument("grouped_matmul: no group offsets, expected [groups + 1]");
  if (group_rows.front() < 0 || group_rows.back() != rows) {
    throw std::invalid_argument("grouped_matmul: group offsets from " + std::to_string(group_rows.front()) + " to " +
                                std::to_string(group_rows.back()) + " of " + std::to_string(rows) + " rows");
  }
  const auto groups = static_cast<int32_t>(group_rows.size()) - 1;
  GroupedWorkList list;
  list.first_chunk.push_back(0);
  for (int32_t k = 0; k < groups; ++k) {
    const int32_t begin = group_rows[k], end = group_rows[k + 1];
    if (begin > end) {
      throw std::invalid_argument("grouped_matmul: rows are not sorted by adapter: group " + std::to_string(k) +
                                  " has rows " + std::to_string(begin) + " to " + std::to_string(end));
    }
    cut(list.tiles, begin, end, k, kGroupTileRows);
    cut(list.chunks, begin, end, k, kGroupChunkRows);
    list.first_chunk.push_back(static_cast<int32_t>(list.chunks.size()));
  }
  const auto bound = [&](int32_t most) { return static_cast<std::size_t>(rows + most - 1) / most + groups; };
  list.tiles.resize(bound(kGroupTileRows), {0, 0, 0});
  list.chunks.resize(bound(kGroupChunkRows), {0, 0, 0});
  return list;
}

std::vector<int32_t> group_rows_of(const std::vector<int32_t>& adapter_of_row, int32_t adapters) {
  std::vector<int32_t> offsets(adapters + 1, 0);
  int32_t last = -1;
  for (std::size_t row = 0; row < adapter_of_row.size(); ++row) {
    const int32_t adapter = adapter_of_row[row];
    if (adapter < -1 || adapter >= adapters) {
      throw std::invalid_argument("grouped_matmul: row " + std::to_string(row) + " has adapter " +
                                  std::to_string(adapter) + " of " + std::to_string(adapters));
    }
    if (adapter < last) {
      throw std::invalid_argument("grouped_matmul: rows are not sorted by adapter: row " + std::to_string(row) +
                                  " has adapter " + std::to_string(adapter) + " after " + std::to_string(last));
    }
    last = adapter;
    offsets[adapter + 1] = static_cast<int32_t>(row) + 1;
  }
  for (int32_t k = 1; k <= adapters; ++k) offsets[k] = std::max(offsets[k], offsets[k - 1]);  // over empty groups
  return offsets;
}

}  // namespace peft::cuda
