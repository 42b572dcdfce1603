#include "src/objectives/predictions.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace peft {

std::span<const float> example_logits(const at::Tensor& logits_SN, const EncodedSplit& split, int64_t example) {
  const int64_t outputs = logits_SN.size(1);
  return {logits_SN.const_data_ptr<float>() + split.first_row(example) * outputs,
          static_cast<std::size_t>(split.rows(example) * outputs)};
}

at::Tensor side_by_side(const at::Tensor& scores_R, const std::vector<int64_t>& offsets) {
  const auto groups = static_cast<int64_t>(offsets.size()) - 1;
  int64_t most = 0;
  for (int64_t g = 0; g < groups; ++g) most = std::max(most, offsets[g + 1] - offsets[g]);
  std::vector<int64_t> places;
  for (int64_t g = 0; g < groups; ++g)
    for (int64_t r = offsets[g]; r < offsets[g + 1]; ++r) places.push_back(g * most + r - offsets[g]);
  const at::Tensor place_R = at::tensor(at::ArrayRef<int64_t>(places), at::kLong).to(scores_R.device());
  return at::full({groups * most}, -std::numeric_limits<double>::infinity(), scores_R.options())
      .scatter(0, place_R, scores_R)
      .view({groups, most});
}

bool all_finite(std::span<const float> values) {
  return std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); });
}

std::vector<Target> largest_of_each(const at::Tensor& logits_SN, const EncodedSplit& split) {
  std::vector<Target> places;
  for (int64_t e = 0; e < split.size(); ++e) {
    const auto values = example_logits(logits_SN, split, e);
    places.push_back(all_finite(values) ? Target(std::max_element(values.begin(), values.end()) - values.begin())
                                        : Target());
  }
  return places;
}

bool all_alike(const std::vector<Target>& predictions, const EncodedSplit& split) {
  const auto same = [&](const Target& p) { return p == predictions.front(); };
  if (is_hidden(predictions.front()) || !std::all_of(predictions.begin(), predictions.end(), same)) return false;
  const Target reference = split.target(0);
  for (int64_t e = 1; e < split.size(); ++e)
    if (split.target(e) != reference) return true;
  return false;
}

}  // namespace peft
