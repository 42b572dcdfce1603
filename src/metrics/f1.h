#pragma once
/// Counts behind the F1 family, shared with the metrics of grouped tasks.

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "class_ids.h"
#include "peft/metrics/metric.h"

namespace peft {

/// Binary F1 of class id 1: 2TP / (2TP + FP + FN). An invalid prediction counts as the opposite of its reference.
Evaluate binary_f1(const Scored& scored);

/// Per-class counts of a resample: 2TP and 2TP + FP + FN (= predicted + referenced). An invalid prediction is only a miss.
struct ClassCounts {
  std::vector<uint64_t> hits, predicted, referenced;
};
ClassCounts count_classes(const ClassIds& ids, std::span<const uint32_t> times);

/// Sum of the per-class F1 over the classes that occur, and how many do.
struct F1Sum {
  double sum = 0;
  int64_t classes = 0;
};
F1Sum sum_f1(const ClassCounts& counts);

}  // namespace peft
