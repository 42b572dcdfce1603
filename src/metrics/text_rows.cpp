#include "text_rows.h"

namespace peft {

Evaluate mean_of_rows(std::vector<double> values) {
  return [values = std::move(values)](std::span<const uint32_t> times) -> MetricValue {
    double sum = 0, rows = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      sum += times[i] * values[i];
      rows += times[i];
    }
    return {sum / rows, {}};
  };
}

Evaluate share_of_right(const std::vector<bool>& right) { return mean_of_rows({right.begin(), right.end()}); }

}  // namespace peft
