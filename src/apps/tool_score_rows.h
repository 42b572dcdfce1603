#pragma once
/// What metrics score, from the files of `peft-tool score` and `peft-tool compare`.

#include <cstdint>
#include <string>
#include <vector>

#include "peft/metrics/metric.h"
#include "src/apps/tool_score_values.h"

namespace peft {

struct ScoredRows {
  Scored scored;
  int64_t invalid = 0;  ///< predictions
};

/// Predictions beside the right values. Classes are integers, or label strings numbered as the predicted names are, the others behind in
/// byte order. `num_classes` 0: not told. `ordered`: the metric that takes class 1 for the positive one; empty: there is none. Throws
/// DataError `FILE:LINE: ...`.
ScoredRows read_scored(Metric::Input input, const PredictedValues& predicted, Values references, int64_t num_classes,
                       const std::string& ordered);

/// Throws DataError `FILE:LINE: ...` for a reference text that the metric cannot score.
void check_texts(const Metric& metric, const Values& references);

/// Groups numbered in order of first appearance; 1 and "1" are different ones.
std::vector<int64_t> read_groups(const Values& values);

}  // namespace peft
