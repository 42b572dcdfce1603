#pragma once
/// Is one run better than another on the same rows (docs/tasks.md#comparing-runs)? The tests see the sampling of rows, not the noise of
/// training.

#include <optional>

#include "peft/metrics/metrics.h"

namespace peft {

/// Rows that one side alone has right.
struct Discordant {
  int64_t only_a = 0, only_b = 0;
};

struct Comparison {
  MetricValue a, b;
  double difference = 0.0;  ///< a - b
  Interval ci95;            ///< of the difference: percentile bootstrap, the same resamples for both sides
  double p_bootstrap = 1.0;
  std::optional<Discordant> rows = {};  ///< nothing where no row is right or wrong by itself: correlations, rouge, bleu
};

/// Two-sided p of d = 0 from B paired resamples: min(1, 2 min((1 + #{d_b <= 0}) / (B + 1), (1 + #{d_b >= 0}) / (B + 1))). Differences
/// of rounding size (1e-12) count as 0. Throws as compute_metric does, and DataError where the sides have other rows or references.
Comparison compare_scores(const std::string& metric, const Scored& a, const Scored& b, int64_t resamples,
                          uint64_t seed);

/// McNemar's test, exact: min(1, 2 P[Bin(only_a + only_b, 1/2) <= min(only_a, only_b)]).
double mcnemar_p(const Discordant& rows);

/// Holm's step-down adjustment of the p of several tests, in their order.
std::vector<double> holm_adjusted(const std::vector<double>& p);

}  // namespace peft
