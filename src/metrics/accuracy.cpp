#include <numeric>

#include "peft/base/summaries.h"
#include "peft/metrics/metric.h"

namespace peft {
namespace {

// Share of rows with prediction = reference; an invalid prediction equals no reference.
Evaluate accuracy(const Scored& scored) {
  std::vector<uint32_t> right(scored.references.size());
  for (std::size_t i = 0; i < right.size(); ++i) right[i] = scored.predictions[i] == scored.references[i];
  return [right = std::move(right)](std::span<const uint32_t> times) -> MetricValue {
    uint64_t hits = 0, rows = 0;
    for (std::size_t i = 0; i < right.size(); ++i) {
      hits += uint64_t{right[i]} * times[i];
      rows += times[i];
    }
    return {double(hits) / double(rows), {}};
  };
}

[[maybe_unused]] const bool registered = metric_registry().add("accuracy", {.prepare = accuracy});

[[maybe_unused]] const bool described = summaries("metric").add("accuracy", {"share of right answers"});

}  // namespace
}  // namespace peft
