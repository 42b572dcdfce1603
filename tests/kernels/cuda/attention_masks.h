#pragma once
/// Names of dropout masks for tests of attention kernels, and the multipliers that they stand for.

#include <algorithm>

#include "src/kernels/cuda/common/dropout.h"

namespace peft::cuda {

class AttentionMasks {
 public:
  /// Rows [cu[b], cu[b+1]) are a sequence of adapter[b]; of no adapter: -1. Not active with probability 0.
  AttentionMasks(double probability, const std::vector<int32_t>& cu, const std::vector<int32_t>& adapter) {
    if (probability == 0.0) return;
    std::vector<int64_t> ordinal;
    int32_t last = 0;
    for (const int32_t k : adapter) {
      ordinal.push_back(static_cast<int64_t>(1 + 3 * ordinal.size()));
      last = std::max(last, k);
    }
    rows_ = mask_rows({cu.begin(), cu.end()}, {adapter.begin(), adapter.end()}, ordinal);
    for (int32_t k = 0; k <= last; ++k) {
      steps_.push_back(7 + k);
      streams_.push_back(mask_stream(0x123456789abcdefULL * steps_.size(), probability));
    }
  }
  NamedDropout view() const { return {rows_.data(), streams_.empty() ? nullptr : streams_.data(), steps_.data()}; }
  double multiplier(int row, int head, bool prefix, int key) const {
    if (streams_.empty()) return 1.0;
    const RowMask mask(view(), row);
    return static_cast<double>(
        mask_chunk(mask.stream, mask.row, mask.step, attention_chunk(head, prefix, key)).apply(key % 8, 1.0F));
  }

 private:
  std::vector<MaskRow> rows_;
  std::vector<MaskStream> streams_;
  std::vector<int64_t> steps_;
};

}  // namespace peft::cuda
