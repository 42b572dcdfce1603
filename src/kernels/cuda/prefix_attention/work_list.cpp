#include "src/kernels/cuda/prefix_attention/api.h"

namespace peft::cuda {

PrefixWorkList prefix_work_list(const std::vector<int32_t>& group_rows, int width) {
  RowPlan chunks = plan_row_items(group_rows, prefix_chunk_rows(width));
  return {plan_row_items(group_rows, prefix_forward_rows(width)).items,
          plan_row_items(group_rows, prefix_query_rows(width)).items, std::move(chunks.items),
          std::move(chunks.first_item)};
}

}  // namespace peft::cuda
