#include "peft/metrics/compare.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "check.h"
#include "resamples.h"

namespace peft {
namespace {

constexpr double kRounding = 1e-12;

void check_same_rows(const std::string& metric, const Scored& a, const Scored& b) {
  if (a.rows() != b.rows()) throw_error<DataError>("{}: {} rows and {} rows to compare", metric, a.rows(), b.rows());
  if (a.references != b.references || a.reference_sets != b.reference_sets || a.reference_texts != b.reference_texts ||
      a.reference_tags != b.reference_tags || a.groups != b.groups)
    throw_error<DataError>("{}: the references or groups of the two sides differ", metric);
}

std::optional<std::vector<bool>> right_rows(const Metric& metric, const Scored& scored) {
  if (scored.texts() || scored.tags())
    return metric.right == nullptr ? std::nullopt : std::optional(metric.right(scored));
  if (metric.input == Metric::Input::numbers) return std::nullopt;
  std::vector<bool> right(scored.rows());
  for (std::size_t i = 0; i < right.size(); ++i)
    right[i] = scored.sets() ? scored.predicted_sets[i] == scored.reference_sets[i]
                             : scored.predictions[i] == scored.references[i];
  return right;
}

std::optional<Discordant> discordant_rows(const Metric& metric, const Scored& a, const Scored& b) {
  const auto right_a = right_rows(metric, a), right_b = right_rows(metric, b);
  if (!right_a || !right_b) return std::nullopt;
  Discordant rows;
  for (std::size_t i = 0; i < right_a->size(); ++i) {
    rows.only_a += (*right_a)[i] && !(*right_b)[i];
    rows.only_b += (*right_b)[i] && !(*right_a)[i];
  }
  return rows;
}

}  // namespace

Comparison compare_scores(const std::string& name, const Scored& a, const Scored& b, int64_t resamples, uint64_t seed) {
  const Metric& metric = metric_registry().at(name);
  check_scored(name, metric, a);
  check_scored(name, metric, b);
  check_same_rows(name, a, b);
  const Evaluate evaluate_a = metric.prepared(a), evaluate_b = metric.prepared(b);
  const std::vector<uint32_t> once(a.rows(), 1);
  Comparison result{.a = evaluate_a(once), .b = evaluate_b(once), .ci95 = {}};
  result.difference = result.a.value - result.b.value;
  result.rows = discordant_rows(metric, a, b);

  Resamples draws(metric, a, resamples, seed);
  std::vector<double> differences;
  int64_t at_most_zero = 0, at_least_zero = 0;
  for (int64_t i = 0; i < draws.count(); ++i) {
    const auto times = draws.times(i);
    const double difference = evaluate_a(times).value - evaluate_b(times).value;
    at_most_zero += difference <= kRounding;
    at_least_zero += difference >= -kRounding;
    differences.push_back(difference);
  }
  result.ci95 = percentile_interval(std::move(differences));
  result.p_bootstrap = std::min(1.0, 2.0 * double(1 + std::min(at_most_zero, at_least_zero)) / double(resamples + 1));
  return result;
}

double mcnemar_p(const Discordant& rows) {
  const int64_t n = rows.only_a + rows.only_b, least = std::min(rows.only_a, rows.only_b);
  // P[Bin = least] = C(n, least) / 2^n as mantissa 2^exponent; a product loses less than a difference of lgamma.
  long double mantissa = 1;
  int64_t exponent = -n;
  for (int64_t i = 1; i <= least; ++i) {
    int shift = 0;
    mantissa = std::frexp(mantissa * static_cast<long double>(n - least + i) / static_cast<long double>(i), &shift);
    exponent += shift;
  }
  // P[Bin <= least] in units of it: each term is the one above it times j / (n - j + 1).
  long double sum = 1, term = 1;
  for (int64_t j = least; j > 0; --j) {
    term *= static_cast<long double>(j) / static_cast<long double>(n - j + 1);
    sum += term;
  }
  const int shift = static_cast<int>(std::max<int64_t>(exponent + 1, -100'000));  // far below the smallest double
  return static_cast<double>(std::min(1.0L, std::ldexp(mantissa * sum, shift)));
}

std::vector<double> holm_adjusted(const std::vector<double>& p) {
  std::vector<std::size_t> order(p.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) { return p[i] < p[j]; });
  std::vector<double> adjusted(p.size());
  double largest = 0;
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    largest = std::max(largest, std::min(1.0, double(p.size() - rank) * p[order[rank]]));
    adjusted[order[rank]] = largest;
  }
  return adjusted;
}

}  // namespace peft
