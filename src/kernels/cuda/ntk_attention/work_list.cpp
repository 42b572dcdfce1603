#include <algorithm>
#include <stdexcept>

#include "src/kernels/cuda/ntk_attention/api.h"

namespace peft::cuda {
namespace {

void append(std::vector<NtkItem>& items, int32_t begin, int32_t end, int32_t group, int32_t most) {
  for (int32_t row = begin; row < end; row += most) items.push_back({row, std::min(most, end - row), group});
}

}  // namespace

NtkWorkList ntk_work_list(const std::vector<int32_t>& group_rows, int width) {
  if (group_rows.empty() || group_rows.front() < 0 || !std::is_sorted(group_rows.begin(), group_rows.end()))
    throw std::invalid_argument("ntk_work_list: the first rows of the groups must not decrease");
  NtkWorkList list;
  const auto groups = static_cast<int32_t>(group_rows.size()) - 1;
  const int32_t tile = ntk_tile_rows(width), chunk = ntk_chunk_rows(width), rows = group_rows.back();
  for (int32_t k = -1; k < groups; ++k) {
    const int32_t begin = k < 0 ? 0 : group_rows[k], end = group_rows[k + 1];
    append(list.tiles, begin, end, k, tile);
    if (k >= 0) list.first_chunk.push_back(static_cast<int32_t>(list.chunks.size()));
    append(list.chunks, begin, end, k, chunk);
  }
  list.first_chunk.push_back(static_cast<int32_t>(list.chunks.size()));
  list.tiles.resize(ntk_tile_bound(rows, groups, width), {rows, 0, -1});
  list.chunks.resize(ntk_chunk_bound(rows, groups, width), {rows, 0, -1});
  return list;
}

}  // namespace peft::cuda
