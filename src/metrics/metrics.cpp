#include "peft/metrics/metrics.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "check.h"
#include "peft/metrics/metric.h"
#include "peft/text/utf8.h"

namespace peft {

Registry<Metric>& metric_registry() {
  static Registry<Metric> registry("metric");
  return registry;
}

namespace {

// An id of one of the classes.
bool is_class(double id, const Scored& scored) {
  return id >= 0 && id == std::floor(id) && id < 0x1p53 && (scored.num_classes == 0 || id < double(scored.num_classes));
}

bool is_set(const std::vector<int64_t>& set, const Scored& scored) {
  return std::all_of(set.begin(), set.end(), [&](int64_t id) { return is_class(double(id), scored); }) &&
         std::adjacent_find(set.begin(), set.end(), std::greater_equal<>()) == set.end();
}

void check_sets(const std::string& name, const Metric& metric, const Scored& scored) {
  if (metric.prepare_sets == nullptr)
    throw_error<ConfigError>("{} scores {}, not sets", name,
                             metric.input == Metric::Input::texts  ? "texts"
                             : metric.input == Metric::Input::tags ? "tags of words"
                                                                   : "single classes or numbers");
  const std::size_t n = scored.reference_sets.size();
  if (scored.predicted_sets.size() != n)
    throw_error<DataError>("{}: {} predictions for {} references", name, scored.predicted_sets.size(), n);
  for (std::size_t i = 0; i < n; ++i) {
    if (!is_set(scored.reference_sets[i], scored))
      throw_error<DataError>("{}: row {}: the reference is not an ascending list of class ids", name, i);
    const auto& prediction = scored.predicted_sets[i];
    if (!is_set(prediction, scored) && prediction != std::vector<int64_t>{-1})
      throw_error<DataError>("{}: row {}: the prediction is not an ascending list of class ids, nor -1", name, i);
  }
}

void check_utf8(const std::string& name, std::size_t row, const char* side, const std::string& text) {
  if (const auto offset = find_invalid_utf8(text))
    throw_error<DataError>("{}: row {}: {}: {}", name, row, side, describe_invalid_utf8(text, *offset));
}

void check_texts(const std::string& name, const Metric& metric, const Scored& scored) {
  if (metric.input != Metric::Input::texts) throw_error<ConfigError>("{} scores no texts", name);
  const std::size_t n = scored.reference_texts.size();
  if (scored.predicted_texts.size() != n)
    throw_error<DataError>("{}: {} predictions for {} references", name, scored.predicted_texts.size(), n);
  for (std::size_t row = 0; row < n; ++row) {
    check_utf8(name, row, "prediction", scored.predicted_texts[row]);
    if (scored.reference_texts[row].empty()) throw_error<DataError>("{}: row {}: no reference", name, row);
    for (const std::string& reference : scored.reference_texts[row]) {
      check_utf8(name, row, "reference", reference);
      const char* problem = metric.problem == nullptr ? nullptr : metric.problem(reference);
      if (problem != nullptr) throw_error<DataError>("{}: row {}: reference \"{}\": {}", name, row, reference, problem);
    }
  }
}

void check_tags(const std::string& name, const Metric& metric, const Scored& scored) {
  if (metric.input != Metric::Input::tags) throw_error<ConfigError>("{} scores no tags of words", name);
  const std::size_t n = scored.reference_tags.size();
  if (scored.predicted_tags.size() != n)
    throw_error<DataError>("{}: {} predictions for {} references", name, scored.predicted_tags.size(), n);
  for (std::size_t row = 0; row < n; ++row)
    if (scored.predicted_tags[row].size() != scored.reference_tags[row].size())
      throw_error<DataError>("{}: row {}: {} tags, expected {}", name, row, scored.predicted_tags[row].size(),
                             scored.reference_tags[row].size());
}

}  // namespace

void check_scored(const std::string& name, const Metric& metric, const Scored& scored) {
  if (scored.tags()) return check_tags(name, metric, scored);
  if (scored.texts()) return check_texts(name, metric, scored);
  if (scored.sets()) return check_sets(name, metric, scored);
  if (metric.input == Metric::Input::texts) throw_error<ConfigError>("{} scores texts", name);
  if (metric.input == Metric::Input::tags) throw_error<ConfigError>("{} scores tags of words", name);
  if (metric.prepare == nullptr) throw_error<ConfigError>("{} scores sets of classes", name);
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
    if (!is_class(reference, scored))
      throw_error<DataError>("{}: row {}: reference {}, expected a class id", name, i, reference);
    if (!is_class(prediction, scored) && prediction != -1 && !std::isnan(prediction))
      throw_error<DataError>("{}: row {}: prediction {}, expected a class id or -1", name, i, prediction);
  }
}

MetricValue compute_metric(const std::string& name, const Scored& scored) {
  const Metric& metric = metric_registry().at(name);
  check_scored(name, metric, scored);
  const std::vector<uint32_t> once(scored.rows(), 1);
  return metric.prepared(scored)(once);
}

std::vector<std::string> metric_names() { return metric_registry().names(); }

bool metric_known(const std::string& name) { return metric_registry().find(name) != nullptr; }

bool lower_is_better(const std::string& name) { return name == "loss" || metric_registry().at(name).lower_is_better; }

}  // namespace peft
