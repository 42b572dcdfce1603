#pragma once
/// Metrics of texts that are means over rows, where each row has the best value over its references.

#include <algorithm>
#include <functional>
#include <vector>

#include "peft/metrics/metric.h"

namespace peft {

/// Mean over the rows of a value that each row has by itself.
Evaluate mean_of_rows(std::vector<double> values);

/// Of each row the largest value(prediction, reference) over its references. `read` makes of a text what `value` takes.
template <class Read, class Value>
auto best_of_references(const Scored& scored, Read read, Value value) {
  std::vector<std::invoke_result_t<Value, std::invoke_result_t<Read, const std::string&>,
                                   std::invoke_result_t<Read, const std::string&>>>
      best;
  for (std::size_t row = 0; row < scored.rows(); ++row) {
    const auto prediction = read(scored.predicted_texts[row]);
    const auto& references = scored.reference_texts[row];
    auto largest = value(prediction, read(references.front()));
    for (std::size_t i = 1; i < references.size(); ++i)
      largest = std::max(largest, value(prediction, read(references[i])));
    best.push_back(largest);
  }
  return best;
}

/// Share of the rows that are right.
Evaluate share_of_right(const std::vector<bool>& right);

}  // namespace peft
