#include "src/kernels/cuda/common/dropout.h"

#include <algorithm>
#include <cmath>

namespace peft::cuda {

MaskStream mask_stream(uint64_t name, double probability) {
  const auto limit = static_cast<uint32_t>(std::min(std::lround(probability * 65536.0), 65535L));
  return {{static_cast<uint32_t>(name), static_cast<uint32_t>(name >> 32)},
          limit,
          static_cast<float>(65536.0 / (65536.0 - limit))};
}

std::vector<MaskRow> mask_rows(const std::vector<int64_t>& cu, const std::vector<int64_t>& adapter,
                               const std::vector<int64_t>& ordinal) {
  std::vector<MaskRow> rows;
  rows.reserve(static_cast<std::size_t>(cu.back()));
  for (std::size_t b = 0; b + 1 < cu.size(); ++b) {
    for (int64_t i = 0; i < cu[b + 1] - cu[b]; ++i)
      rows.push_back(
          {static_cast<uint32_t>(i), static_cast<uint32_t>(ordinal[b]), static_cast<int32_t>(adapter[b]), 0});
  }
  return rows;
}

std::vector<MaskRow> picked_mask_rows(int64_t position, const std::vector<int64_t>& adapter,
                                      const std::vector<int64_t>& ordinal) {
  std::vector<MaskRow> rows;
  for (std::size_t b = 0; b < adapter.size(); ++b)
    rows.push_back(
        {static_cast<uint32_t>(position), static_cast<uint32_t>(ordinal[b]), static_cast<int32_t>(adapter[b]), 0});
  return rows;
}

}  // namespace peft::cuda
