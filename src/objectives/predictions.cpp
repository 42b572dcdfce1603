#include "src/objectives/predictions.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace peft {

std::span<const float> example_logits(const at::Tensor& logits_SN, const EncodedSplit& split, int64_t example) {
  const int64_t outputs = logits_SN.size(1);
  return {logits_SN.const_data_ptr<float>() + split.first_sequence(example) * outputs,
          static_cast<std::size_t>(split.sequences(example) * outputs)};
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
