#pragma once
/// Names of dropout masks for tests of attention kernels, and the multipliers that they stand for.

#include "src/kernels/cuda/common/dropout.h"

namespace peft::cuda {

class AttentionMasks {
 public:
  /// Rows [cu[b], cu[b+1]) are a sequence of adapter[b]; of no adapter: -1. Not active with probability 0.
  AttentionMasks(double probability, const std::vector<int32_t>& cu, const std::vector<int32_t>& adapter) {
    if (probability == 0.0) return;
    int64_t ordinal = 1;
    for (std::size_t b = 0; b < adapter.size(); ++b, ordinal += 3) {
      for (int32_t i = 0; i < cu[b + 1] - cu[b]; ++i)
        rows_.push_back({static_cast<uint32_t>(i), static_cast<uint32_t>(ordinal), adapter[b], 0});
      while (static_cast<int32_t>(steps_.size()) <= adapter[b]) {
        steps_.push_back(static_cast<int64_t>(7 + steps_.size()));
        streams_.push_back(mask_stream(0x123456789abcdefULL * steps_.size(), probability));
      }
    }
    if (streams_.empty()) streams_.push_back(mask_stream(1, probability));
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
