#include <algorithm>

#include "src/kernels/cuda/bank_adamw/api.h"

namespace peft::cuda {

AdamWorkList adam_work_list(const std::vector<AdamSegment>& segments, int32_t jobs) {
  AdamWorkList list;
  list.first_chunk.assign(jobs + 1, 0);
  for (std::size_t s = 0; s < segments.size(); ++s) {
    const AdamSegment& segment = segments[s];
    for (int64_t first = 0; first < segment.count; first += kAdamChunk) {
      list.chunks.push_back({segment.offset + first,
                             static_cast<int32_t>(std::min<int64_t>(kAdamChunk, segment.count - first)),
                             static_cast<int32_t>(s), segment.job});
      ++list.first_chunk[segment.job + 1];
    }
  }
  for (int32_t j = 0; j < jobs; ++j) list.first_chunk[j + 1] += list.first_chunk[j];
  return list;
}

}  // namespace peft::cuda
