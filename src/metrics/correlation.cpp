#include <algorithm>
#include <cmath>
#include <numeric>

#include "peft/base/summaries.h"
#include "peft/metrics/metric.h"

namespace peft {
namespace {

// Brings the largest magnitude below 1 by a power of two, which is exact, so that no sum overflows.
std::vector<double> scaled(std::vector<double> values) {
  double largest = 0;
  for (const double v : values)
    if (std::isfinite(v)) largest = std::max(largest, std::abs(v));
  int exponent = 0;
  std::frexp(largest, &exponent);
  for (double& v : values) v = std::ldexp(v, -exponent);
  return values;
}

// Deviations of one side from its weighted mean.
struct Side {
  std::vector<double> deviations;
  double largest = 0;
  bool constant = true;
};

Side centred(std::span<const double> values, std::span<const uint32_t> times, double rows) {
  Side side;
  double sum = 0, first = 0;
  bool any = false;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (times[i] == 0) continue;
    sum += times[i] * values[i];
    if (!any) first = values[i];
    any = true;
    side.constant = side.constant && values[i] == first;
  }
  double mean = sum / rows, rest = 0;
  for (std::size_t i = 0; i < values.size(); ++i)
    if (times[i]) rest += times[i] * (values[i] - mean);
  mean += rest / rows;  // what rounding left of the first sum
  side.deviations.resize(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (times[i] == 0) continue;
    side.deviations[i] = values[i] - mean;
    side.largest = std::max(side.largest, std::abs(side.deviations[i]));
  }
  return side;
}

// Centred two-pass; both sides are divided by their largest deviation before squaring.
MetricValue correlation(std::span<const double> x, std::span<const double> y, std::span<const uint32_t> times) {
  const double rows = std::accumulate(times.begin(), times.end(), 0.0);
  if (rows < 2) return {0.0, "fewer than two rows"};
  const Side a = centred(x, times, rows), b = centred(y, times, rows);
  if (a.constant || a.largest == 0) return {0.0, "constant predictions"};
  if (b.constant || b.largest == 0) return {0.0, "constant references"};
  double xx = 0, yy = 0, xy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (times[i] == 0) continue;
    const double u = a.deviations[i] / a.largest, v = b.deviations[i] / b.largest;
    xx += times[i] * u * u;
    yy += times[i] * v * v;
    xy += times[i] * u * v;
  }
  return {std::clamp(xy / std::sqrt(xx * yy), -1.0, 1.0), {}};
}

// Rows whose prediction is not finite; a resample that holds one has no correlation.
std::vector<std::size_t> unreadable_rows(const Scored& scored) {
  std::vector<std::size_t> rows;
  for (std::size_t i = 0; i < scored.predictions.size(); ++i)
    if (!std::isfinite(scored.predictions[i])) rows.push_back(i);
  return rows;
}

bool any_drawn(const std::vector<std::size_t>& rows, std::span<const uint32_t> times) {
  return std::any_of(rows.begin(), rows.end(), [&](std::size_t i) { return times[i] != 0; });
}

constexpr const char* not_finite = "a prediction is not a finite number";

Evaluate pearson(const Scored& scored) {
  return [x = scaled(scored.predictions), y = scaled(scored.references),
          unreadable = unreadable_rows(scored)](std::span<const uint32_t> times) -> MetricValue {
    if (any_drawn(unreadable, times)) return {0.0, not_finite};
    return correlation(x, y, times);
  };
}

// Values sorted into levels 0, 1, ...; equal values (also -0.0 and 0.0) share one.
struct Levels {
  std::vector<uint32_t> of_row;
  std::size_t count = 0;
};

Levels levels(std::vector<double> values) {
  for (double& v : values)
    if (std::isnan(v)) v = 0;  // such rows are refused before their level matters, and NaN cannot be sorted
  std::vector<double> known = values;
  std::sort(known.begin(), known.end());
  known.erase(std::unique(known.begin(), known.end()), known.end());
  Levels result{{}, known.size()};
  for (const double v : values)
    result.of_row.push_back(static_cast<uint32_t>(std::lower_bound(known.begin(), known.end(), v) - known.begin()));
  return result;
}

// Average rank of every row within the resample: counting per level makes a resample linear in the rows.
std::vector<double> average_ranks(const Levels& levels, std::span<const uint32_t> times) {
  std::vector<uint64_t> drawn(levels.count);
  for (std::size_t i = 0; i < times.size(); ++i) drawn[levels.of_row[i]] += times[i];
  std::vector<double> rank_of_level(levels.count);
  uint64_t before = 0;
  for (std::size_t level = 0; level < levels.count; ++level) {
    rank_of_level[level] = double(before) + (double(drawn[level]) + 1) / 2;
    before += drawn[level];
  }
  std::vector<double> ranks(times.size());
  for (std::size_t i = 0; i < times.size(); ++i) ranks[i] = rank_of_level[levels.of_row[i]];
  return ranks;
}

Evaluate spearman(const Scored& scored) {
  return [x = levels(scored.predictions), y = levels(scored.references),
          unreadable = unreadable_rows(scored)](std::span<const uint32_t> times) -> MetricValue {
    if (any_drawn(unreadable, times)) return {0.0, not_finite};
    return correlation(average_ranks(x, times), average_ranks(y, times), times);
  };
}

[[maybe_unused]] const bool registered =
    metric_registry().add("pearson", {.input = Metric::Input::numbers, .prepare = pearson}) &&
    metric_registry().add("spearman", {.input = Metric::Input::numbers, .prepare = spearman});

[[maybe_unused]] const bool described = summaries("metric").add("pearson", {"linear correlation of scores"}) &&
                                        summaries("metric").add("spearman", {"rank correlation of scores"});

}  // namespace
}  // namespace peft
