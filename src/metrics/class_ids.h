#pragma once
/// Class ids renumbered without gaps, so that counts fit in small arrays whatever the ids are.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "peft/metrics/metrics.h"

namespace peft {

struct ClassIds {
  std::vector<int32_t> predictions, references;  ///< 0..count-1; `count` itself for an invalid prediction
  int32_t count = 0;                             ///< classes that occur in references or valid predictions
};

inline ClassIds class_ids(const Scored& scored) {
  std::vector<double> known = scored.references;
  for (const double p : scored.predictions)
    if (p >= 0) known.push_back(p);
  std::sort(known.begin(), known.end());
  known.erase(std::unique(known.begin(), known.end()), known.end());

  ClassIds ids;
  ids.count = static_cast<int32_t>(known.size());
  const auto number = [&](double id) {
    return id >= 0 ? static_cast<int32_t>(std::lower_bound(known.begin(), known.end(), id) - known.begin()) : ids.count;
  };
  for (const double id : scored.predictions) ids.predictions.push_back(number(id));
  for (const double id : scored.references) ids.references.push_back(number(id));
  return ids;
}

}  // namespace peft
