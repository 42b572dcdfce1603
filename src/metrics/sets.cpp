#include "sets.h"

#include <algorithm>
#include <iterator>

#include "peft/base/summaries.h"

namespace peft {
namespace {

// Members that both sets of a row hold, and the prediction's own; an invalid prediction has none.
struct RowSets {
  std::vector<int64_t> both, predicted;
};

std::vector<RowSets> compare(const Scored& scored) {
  std::vector<RowSets> rows(scored.reference_sets.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto& prediction = scored.predicted_sets[i];
    const auto& reference = scored.reference_sets[i];
    if (!prediction.empty() && prediction.front() < 0) continue;
    rows[i].predicted = prediction;
    std::set_intersection(prediction.begin(), prediction.end(), reference.begin(), reference.end(),
                          std::back_inserter(rows[i].both));
  }
  return rows;
}

// 2TP / (2TP + FP + FN) over all (row, class) pairs.
Evaluate micro_f1(const Scored& scored) {
  return [rows = compare(scored), references = scored.reference_sets](std::span<const uint32_t> times) -> MetricValue {
    uint64_t hits = 0, all = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      hits += times[i] * uint64_t{rows[i].both.size()};
      all += times[i] * uint64_t{rows[i].predicted.size() + references[i].size()};
    }
    if (all == 0) return {0.0, "no class in references and predictions"};
    return {2.0 * double(hits) / double(all), {}};
  };
}

// Share of rows whose sets are equal.
Evaluate subset_accuracy(const Scored& scored) {
  std::vector<bool> right;
  for (std::size_t i = 0; i < scored.reference_sets.size(); ++i)
    right.push_back(scored.predicted_sets[i] == scored.reference_sets[i]);
  return [right = std::move(right)](std::span<const uint32_t> times) -> MetricValue {
    uint64_t hits = 0, rows = 0;
    for (std::size_t i = 0; i < right.size(); ++i) {
      hits += right[i] ? times[i] : 0;
      rows += times[i];
    }
    return {double(hits) / double(rows), {}};
  };
}

}  // namespace

Evaluate macro_f1_of_sets(const Scored& scored) {
  if (scored.num_classes < 1) throw_error<ConfigError>("macro_f1 of sets needs the number of classes");
  return [rows = compare(scored), references = scored.reference_sets,
          n = static_cast<std::size_t>(scored.num_classes)](std::span<const uint32_t> times) -> MetricValue {
    std::vector<uint64_t> hits(n), all(n);
    const auto count = [](const std::vector<int64_t>& ids, uint32_t by, std::vector<uint64_t>& counts) {
      for (const int64_t id : ids) counts[static_cast<std::size_t>(id)] += by;
    };
    for (std::size_t i = 0; i < rows.size(); ++i) {
      count(rows[i].both, times[i], hits);
      count(rows[i].predicted, times[i], all);
      count(references[i], times[i], all);
    }
    double sum = 0;
    for (std::size_t k = 0; k < n; ++k)
      if (all[k] > 0) sum += 2.0 * double(hits[k]) / double(all[k]);
    return {sum / double(n), {}};
  };
}

namespace {

[[maybe_unused]] const bool registered = metric_registry().add("micro_f1", {.prepare_sets = micro_f1}) &&
                                         metric_registry().add("subset_accuracy", {.prepare_sets = subset_accuracy});

[[maybe_unused]] const bool described =
    summaries("metric").add("micro_f1", {"F1 of all decisions of sets of classes"}) &&
    summaries("metric").add("subset_accuracy", {"share of sets that are right as a whole"});

}  // namespace
}  // namespace peft
