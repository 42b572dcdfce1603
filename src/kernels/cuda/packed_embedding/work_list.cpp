#include <algorithm>

#include "src/kernels/cuda/packed_embedding/api.h"

namespace peft::cuda {

int64_t prompt_chunk_bound(int64_t sequences, int64_t sources) {
  // Every source leaves at most one chunk that is not full; without a sequence it has none.
  return sequences / kPromptChunk + std::min(sequences, sources);
}

EmbeddingPlan embedding_plan(const EmbeddingBatch& batch) {
  const auto sequences = static_cast<int64_t>(batch.cu.size()) - 1;
  const int64_t sources = batch.per_sequence ? sequences : batch.adapters;
  EmbeddingPlan plan;
  plan.cu.push_back(0);
  plan.first_chunk.assign(sources + 1, 0);
  for (int64_t b = 0; b < sequences; ++b) {
    const auto first_row = static_cast<int32_t>(plan.rows.size());
    plan.first_row.push_back(first_row);
    const auto add = [&](int64_t word, int64_t type) {
      const auto place = static_cast<int64_t>(plan.rows.size()) - first_row;
      plan.rows.push_back({static_cast<int32_t>(word), static_cast<int32_t>(batch.position_offset + place),
                           static_cast<int32_t>(type), 0});
    };
    if (batch.adapter[b] >= 0 && batch.prompt_rows > 0) {
      const auto source = static_cast<int32_t>(batch.per_sequence ? b : batch.adapter[b]);
      for (int64_t p = 0; p < batch.prompt_rows; ++p) add(-1 - (source * batch.prompt_rows + p), 0);
      if (plan.chunks.empty() || plan.chunks.back().source != source || plan.chunks.back().count == kPromptChunk) {
        plan.chunks.push_back({source, static_cast<int32_t>(b), 0});
        ++plan.first_chunk[source + 1];
      }
      ++plan.chunks.back().count;
    }
    for (int64_t t = batch.cu[b]; t < batch.cu[b + 1]; ++t) add(batch.ids[t], batch.types.empty() ? 0 : batch.types[t]);
    plan.cu.push_back(static_cast<int64_t>(plan.rows.size()));
  }
  for (int64_t s = 0; s < sources; ++s) plan.first_chunk[s + 1] += plan.first_chunk[s];
  plan.chunks.resize(static_cast<std::size_t>(prompt_chunk_bound(sequences, sources)), PromptChunk{0, 0, 0});
  return plan;
}

}  // namespace peft::cuda
