#pragma once
/// The bootstrap's resamples (docs/tasks.md#intervals), for one score and for pairs.

#include <cstdint>
#include <span>
#include <vector>

#include "peft/metrics/metric.h"

namespace peft {

/// Draws units with replacement. A unit is a row or, for grouped metrics, a group, in order of first appearance.
class Resamples {
 public:
  /// Throws ConfigError where `count` is below 1.
  Resamples(const Metric& metric, const Scored& scored, int64_t count, uint64_t seed);
  int64_t count() const { return count_; }
  /// How often resample b holds each row; valid until the next call.
  std::span<const uint32_t> times(int64_t b);

 private:
  int64_t count_;
  uint64_t seed_;
  std::vector<uint32_t> unit_of_row_;  // empty: every row is its own unit
  std::vector<uint32_t> unit_times_, row_times_;
};

/// The inner 95 % of the values, interpolated as numpy.quantile does by default.
Interval percentile_interval(std::vector<double> values);

}  // namespace peft
