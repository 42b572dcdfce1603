#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "check.h"
#include "resamples.h"

namespace peft {
namespace {

// splitmix64 [Steele, Lea, Flood 2014]: output for one state of the Weyl sequence.
uint64_t splitmix64(uint64_t state) {
  state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9;
  state = (state ^ (state >> 27)) * 0x94D049BB133111EB;
  return state ^ (state >> 31);
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

Resamples::Resamples(const Metric& metric, const Scored& scored, int64_t count, uint64_t seed)
    : count_(count), seed_(seed) {
  if (count < 1) throw_error<ConfigError>("bootstrap: {} resamples, expected at least 1", count);
  std::size_t units = scored.rows();
  if (metric.groups != Metric::Groups::none && !scored.groups.empty()) {
    std::unordered_map<int64_t, uint32_t> numbers;
    for (const int64_t group : scored.groups)
      unit_of_row_.push_back(numbers.emplace(group, static_cast<uint32_t>(numbers.size())).first->second);
    units = numbers.size();
  }
  unit_times_.resize(units);
  row_times_.resize(unit_of_row_.size());
}

std::span<const uint32_t> Resamples::times(int64_t b) {
  const uint64_t units = unit_times_.size();
  std::fill(unit_times_.begin(), unit_times_.end(), 0);
  for (uint64_t i = 0; i < units; ++i) ++unit_times_[bootstrap_draw(seed_, uint64_t(b), i, units)];
  if (unit_of_row_.empty()) return unit_times_;
  for (std::size_t row = 0; row < row_times_.size(); ++row) row_times_[row] = unit_times_[unit_of_row_[row]];
  return row_times_;
}

Interval percentile_interval(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {quantile(values, 0.025), quantile(values, 0.975)};
}

Interval bootstrap_interval(const std::string& name, const Scored& scored, int64_t resamples, uint64_t seed) {
  const Metric& metric = metric_registry().at(name);
  check_scored(name, metric, scored);
  const Evaluate evaluate = metric.prepared(scored);
  Resamples draws(metric, scored, resamples, seed);
  std::vector<double> values;
  for (int64_t b = 0; b < draws.count(); ++b) values.push_back(evaluate(draws.times(b)).value);
  return percentile_interval(std::move(values));
}

}  // namespace peft
