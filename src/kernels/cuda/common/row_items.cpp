#include "src/kernels/cuda/common/row_items.h"

#include <algorithm>
#include <stdexcept>

namespace peft::cuda {

RowPlan plan_row_items(const std::vector<int32_t>& group_rows, int most) {
  if (group_rows.empty() || group_rows.front() < 0 || !std::is_sorted(group_rows.begin(), group_rows.end()))
    throw std::invalid_argument("plan_row_items: the first rows of the groups must not decrease");
  RowPlan plan;
  const auto groups = static_cast<int32_t>(group_rows.size()) - 1;
  for (int32_t k = -1; k < groups; ++k) {
    if (k >= 0) plan.first_item.push_back(static_cast<int32_t>(plan.items.size()));
    const int32_t end = group_rows[k + 1];
    for (int32_t row = k < 0 ? 0 : group_rows[k]; row < end; row += most)
      plan.items.push_back({row, std::min(most, end - row), k});
  }
  plan.first_item.push_back(static_cast<int32_t>(plan.items.size()));
  plan.items.resize(row_item_bound(group_rows.back(), groups, most), {group_rows.back(), 0, -1});
  return plan;
}

}  // namespace peft::cuda
