#include "src/kernels/cuda/ntk_attention/api.h"

namespace peft::cuda {

NtkWorkList ntk_work_list(const std::vector<int32_t>& group_rows, int width) {
  RowPlan tiles = plan_row_items(group_rows, ntk_tile_rows(width)),
          chunks = plan_row_items(group_rows, ntk_chunk_rows(width));
  return {std::move(tiles.items), std::move(chunks.items), std::move(chunks.first_item)};
}

}  // namespace peft::cuda
