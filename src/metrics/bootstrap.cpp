#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "check.h"
#include "peft/metrics/metric.h"

namespace peft {
namespace {

// splitmix64 [Steele, Lea, Flood 2014]: output for one state of the Weyl sequence.
uint64_t splitmix64(uint64_t state) {
  state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9;
  state = (state ^ (state >> 27)) * 0x94D049BB133111EB;
  return state ^ (state >> 31);
}

// Unit of each row: itself, or the number of its group in order of first appearance.
struct Units {
  std::vector<uint32_t> of_row;  // empty: every row is its own unit
  uint64_t count = 0;
};

Units units_of(const Metric& metric, const Scored& scored) {
  if (metric.groups == Metric::Groups::none || scored.groups.empty())
    return {{}, scored.sets() ? scored.reference_sets.size() : scored.references.size()};
  Units units;
  std::unordered_map<int64_t, uint32_t> numbers;
  for (const int64_t group : scored.groups)
    units.of_row.push_back(numbers.emplace(group, static_cast<uint32_t>(numbers.size())).first->second);
  units.count = numbers.size();
  return units;
}

// Linear interpolation between order statistics, as numpy.quantile by default.
double quantile(const std::vector<double>& sorted, double q) {
  const double position = double(sorted.size() - 1) * q;
  const auto below = static_cast<std::size_t>(position);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (position - double(below));
}

}  // namespace

uint64_t bootstrap_draw(uint64_t seed, uint64_t b, uint64_t i, uint64_t n) {
  constexpr uint64_t weyl = 0x9E3779B97F4A7C15;
  const uint64_t x = splitmix64(seed + (b * n + i + 1) * weyl);
  return static_cast<uint64_t>((static_cast<unsigned __int128>(x) * n) >> 64);
}

Interval bootstrap_interval(const std::string& name, const Scored& scored, int64_t resamples, uint64_t seed) {
  const Metric& metric = metric_registry().at(name);
  if (resamples < 1) throw_error<ConfigError>("bootstrap: {} resamples, expected at least 1", resamples);
  check_scored(name, metric, scored);
  const Evaluate evaluate = metric.prepared(scored);
  const Units units = units_of(metric, scored);

  std::vector<uint32_t> unit_times(units.count), row_times(units.of_row.size());
  std::vector<double> values;
  values.reserve(static_cast<std::size_t>(resamples));
  for (int64_t b = 0; b < resamples; ++b) {
    std::fill(unit_times.begin(), unit_times.end(), 0);
    for (uint64_t i = 0; i < units.count; ++i) ++unit_times[bootstrap_draw(seed, uint64_t(b), i, units.count)];
    if (units.of_row.empty()) {
      values.push_back(evaluate(unit_times).value);
      continue;
    }
    for (std::size_t row = 0; row < row_times.size(); ++row) row_times[row] = unit_times[units.of_row[row]];
    values.push_back(evaluate(row_times).value);
  }
  std::sort(values.begin(), values.end());
  return {quantile(values, 0.025), quantile(values, 0.975)};
}

}  // namespace peft
