#include "peft/metrics/metrics.h"

#include <cmath>

#include "check.h"
#include "peft/metrics/metric.h"

namespace peft {

Registry<Metric>& metric_registry() {
  static Registry<Metric> registry("metric");
  return registry;
}

void check_scored(const std::string& name, const Metric& metric, const Scored& scored) {
  const std::size_t n = scored.references.size();
  if (scored.predictions.size() != n)
    throw_error<DataError>("{}: {} predictions for {} references", name, scored.predictions.size(), n);
  if (n == 0) throw_error<DataError>("{}: no rows to score", name);
  if (metric.groups == Metric::Groups::required && scored.groups.empty())
    throw_error<ConfigError>("{} needs the group of every row", name);
  if (metric.groups != Metric::Groups::none && !scored.groups.empty() && scored.groups.size() != n)
    throw_error<DataError>("{}: {} groups for {} rows", name, scored.groups.size(), n);
  for (std::size_t i = 0; i < n; ++i) {
    const double reference = scored.references[i];
    if (metric.input == Metric::Input::numbers) {
      if (!std::isfinite(reference))
        throw_error<DataError>("{}: row {}: reference {}, expected a finite number", name, i, reference);
      continue;
    }
    const double prediction = scored.predictions[i];
    const auto is_class = [&](double id) {
      return id >= 0 && id == std::floor(id) && id < 0x1p53 &&
             (scored.num_classes == 0 || id < double(scored.num_classes));
    };
    if (!is_class(reference))
      throw_error<DataError>("{}: row {}: reference {}, expected a class id", name, i, reference);
    if (!is_class(prediction) && prediction != -1 && !std::isnan(prediction))
      throw_error<DataError>("{}: row {}: prediction {}, expected a class id or -1", name, i, prediction);
  }
}

MetricValue compute_metric(const std::string& name, const Scored& scored) {
  const Metric& metric = metric_registry().at(name);
  check_scored(name, metric, scored);
  const std::vector<uint32_t> once(scored.references.size(), 1);
  return metric.prepare(scored)(once);
}

std::vector<std::string> metric_names() { return metric_registry().names(); }

bool metric_known(const std::string& name) { return metric_registry().find(name) != nullptr; }

}  // namespace peft
