#include <algorithm>
#include <stdexcept>

#include "src/kernels/cuda/packed_attention/api.h"

namespace peft::cuda {

PackedWorkList packed_work_list(const std::vector<int32_t>& cu_q, const std::vector<int32_t>& cu_k,
                                const std::vector<int32_t>& table, int32_t tables, int width) {
  const std::size_t sequences = table.size();
  if (cu_q.size() != sequences + 1 || cu_k.size() != sequences + 1 || !std::is_sorted(table.begin(), table.end()) ||
      (sequences > 0 && (table.front() < -1 || table.back() >= tables)))
    throw std::invalid_argument("packed_work_list: sequences and their prefixes do not fit");
  PackedWorkList work;
  std::vector<int32_t> group_rows(tables + 1, cu_q.back());  // the first query row of each table's sequences
  for (std::size_t b = sequences; b-- > 0;) {
    for (int32_t k = table[b]; k >= 0 && group_rows[k] > cu_q[b]; --k) group_rows[k] = cu_q[b];
  }
  for (std::size_t b = 0; b < sequences; ++b)
    work.sequences.push_back({cu_q[b], cu_q[b + 1] - cu_q[b], cu_k[b], cu_k[b + 1] - cu_k[b], table[b]});
  work.queries = plan_row_items(cu_q, kPackedRows).items;
  work.keys = plan_row_items(cu_k, kPackedKeys).items;
  RowPlan chunks = plan_row_items(group_rows, prefix_chunk_rows(width));
  work.chunks = std::move(chunks.items);
  work.first_chunk = std::move(chunks.first_item);
  return work;
}

}  // namespace peft::cuda
