#include "src/kernels/attention/select.h"

namespace peft {

AttentionBackend select_backend(const AttentionSituation& s) {
  // Masks are named by example and position; the stock operators draw theirs by place in the batch.
  if (s.dropout) return AttentionBackend::explicit_;
  if (!s.cuda) return AttentionBackend::cpu;
  const bool narrow = s.type == at::kHalf || s.type == at::kBFloat16;
  if (narrow && s.width % 8 == 0 && s.width <= 256) return AttentionBackend::flash;
  if (s.type == at::kFloat && s.width % 4 == 0) return AttentionBackend::efficient;  // 16-byte rows
  return AttentionBackend::explicit_;
}

}  // namespace peft
