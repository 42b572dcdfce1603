#include <algorithm>
#include <cmath>

#include "f1.h"
#include "peft/base/summaries.h"

namespace peft {
namespace {

// Multi-class Matthews correlation R_K [Gorodkin 2004]: (c s - sum p_k t_k) / sqrt((s^2 - sum p_k^2)(s^2 - sum t_k^2)).
// Invalid predictions are one extra class. Whether a factor is zero is decided in integers.
Evaluate mcc(const Scored& scored) {
  return [ids = class_ids(scored)](std::span<const uint32_t> times) -> MetricValue {
    using Wide = __int128;  // squares of row counts
    const ClassCounts counts = count_classes(ids, times);
    Wide correct = 0, rows = 0, cross = 0, predicted = 0, referenced = 0;
    for (std::size_t k = 0; k < counts.hits.size(); ++k) {
      const Wide p = counts.predicted[k], t = counts.referenced[k];
      correct += counts.hits[k];
      rows += t;
      cross += p * t;
      predicted += p * p;
      referenced += t * t;
    }
    const Wide spread_predicted = rows * rows - predicted, spread_referenced = rows * rows - referenced;
    if (spread_referenced == 0) return {0.0, "one class only in the references"};
    if (spread_predicted == 0) return {0.0, "one class only in the predictions"};
    const double norm = std::sqrt(double(spread_predicted) * double(spread_referenced));
    return {std::clamp(double(correct * rows - cross) / norm, -1.0, 1.0), {}};
  };
}

[[maybe_unused]] const bool registered = metric_registry().add("mcc", {.prepare = mcc});

[[maybe_unused]] const bool described =
    summaries("metric").add("mcc", {"Matthews correlation of classes: 0 for a constant answer"});

}  // namespace
}  // namespace peft
