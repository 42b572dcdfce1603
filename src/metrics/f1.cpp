#include "f1.h"

#include "peft/base/summaries.h"
#include "sets.h"

namespace peft {

Evaluate binary_f1(const Scored& scored) {
  enum Cell : uint8_t { true_negative, true_positive, false_positive, false_negative };
  std::vector<Cell> cells(scored.references.size());
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const bool positive = scored.references[i] == 1;
    const bool valid = scored.predictions[i] >= 0;
    const bool predicted = valid ? scored.predictions[i] == 1 : !positive;
    cells[i] = positive ? (predicted ? true_positive : false_negative) : (predicted ? false_positive : true_negative);
  }
  return [cells = std::move(cells)](std::span<const uint32_t> times) -> MetricValue {
    std::array<uint64_t, 4> counts{};
    for (std::size_t i = 0; i < cells.size(); ++i) counts[cells[i]] += times[i];
    const uint64_t both = 2 * counts[true_positive];
    const uint64_t all = both + counts[false_positive] + counts[false_negative];
    if (all == 0) return {0.0, "no positive row in references and predictions"};
    return {double(both) / double(all), {}};
  };
}

ClassCounts count_classes(const ClassIds& ids, std::span<const uint32_t> times) {
  const auto slots = static_cast<std::size_t>(ids.count) + 1;  // the last one: invalid predictions
  ClassCounts counts{std::vector<uint64_t>(slots), std::vector<uint64_t>(slots), std::vector<uint64_t>(slots)};
  for (std::size_t i = 0; i < times.size(); ++i) {
    const auto p = static_cast<std::size_t>(ids.predictions[i]), t = static_cast<std::size_t>(ids.references[i]);
    counts.predicted[p] += times[i];
    counts.referenced[t] += times[i];
    if (p == t) counts.hits[t] += times[i];
  }
  return counts;
}

F1Sum sum_f1(const ClassCounts& counts) {
  F1Sum result;
  for (std::size_t k = 0; k + 1 < counts.hits.size(); ++k) {
    const uint64_t all = counts.predicted[k] + counts.referenced[k];
    if (all == 0) continue;
    result.sum += 2.0 * double(counts.hits[k]) / double(all);
    ++result.classes;
  }
  return result;
}

namespace {

// Mean over the classes that occur in references or valid predictions: scikit-learn's default and the official CB
// scorer.
Evaluate macro_f1(const Scored& scored) {
  return [ids = class_ids(scored)](std::span<const uint32_t> times) -> MetricValue {
    const F1Sum f1 = sum_f1(count_classes(ids, times));
    return {f1.sum / double(f1.classes), {}};
  };
}

// Mean over all classes of the task, absent ones count 0: T5's variant.
Evaluate macro_f1_all(const Scored& scored) {
  if (scored.num_classes < 1) throw_error<ConfigError>("macro_f1_all needs the number of classes");
  return [ids = class_ids(scored), classes = scored.num_classes](std::span<const uint32_t> times) -> MetricValue {
    return {sum_f1(count_classes(ids, times)).sum / double(classes), {}};
  };
}

[[maybe_unused]] const bool registered =
    metric_registry().add("f1", {.prepare = binary_f1, .ordered = true}) &&
    metric_registry().add("macro_f1", {.prepare = macro_f1, .prepare_sets = macro_f1_of_sets}) &&
    metric_registry().add("macro_f1_all", {.prepare = macro_f1_all, .all_classes = true});

[[maybe_unused]] const bool described = summaries("metric").add("f1", {"F1 of class 1"}) &&
                                        summaries("metric").add("macro_f1", {"mean F1 of the classes that occur"}) &&
                                        summaries("metric").add("macro_f1_all", {"mean F1 of all classes"});

}  // namespace
}  // namespace peft
