#include <unordered_map>

#include "f1.h"
#include "peft/base/summaries.h"

namespace peft {
namespace {

// Rows of each group, groups in order of first appearance.
std::vector<std::vector<std::size_t>> rows_by_group(const Scored& scored) {
  std::unordered_map<int64_t, std::size_t> numbers;
  std::vector<std::vector<std::size_t>> groups;
  for (std::size_t i = 0; i < scored.groups.size(); ++i) {
    const auto [place, fresh] = numbers.emplace(scored.groups[i], groups.size());
    if (fresh) groups.emplace_back();
    groups[place->second].push_back(i);
  }
  return groups;
}

// Mean over groups of a value each group has by itself. All rows of a group are drawn equally often.
Evaluate mean_over_groups(std::vector<std::size_t> first_rows, std::vector<double> values) {
  return
      [first_rows = std::move(first_rows), values = std::move(values)](std::span<const uint32_t> times) -> MetricValue {
        double sum = 0, groups = 0;
        for (std::size_t g = 0; g < values.size(); ++g) {
          sum += times[first_rows[g]] * values[g];
          groups += times[first_rows[g]];
        }
        return {sum / groups, {}};
      };
}

template <class Value>
Evaluate group_metric(const Scored& scored, Value value) {
  std::vector<std::size_t> first_rows;
  std::vector<double> values;
  for (const auto& rows : rows_by_group(scored)) {
    first_rows.push_back(rows.front());
    values.push_back(value(rows));
  }
  return mean_over_groups(std::move(first_rows), std::move(values));
}

// Share of questions with every answer right.
Evaluate multirc_em(const Scored& scored) {
  return group_metric(scored, [&](const std::vector<std::size_t>& rows) {
    for (const std::size_t i : rows)
      if (scored.predictions[i] != scored.references[i]) return 0.0;
    return 1.0;
  });
}

// Mean over questions of macro_f1 within the question.
Evaluate multirc_f1m(const Scored& scored) {
  return group_metric(scored, [&](const std::vector<std::size_t>& rows) {
    Scored question;
    for (const std::size_t i : rows) {
      question.predictions.push_back(scored.predictions[i]);
      question.references.push_back(scored.references[i]);
    }
    return compute_metric("macro_f1", question).value;
  });
}

// Share of AX-g pairs with equal valid predictions.
Evaluate gender_parity(const Scored& scored) {
  return group_metric(scored, [&](const std::vector<std::size_t>& rows) {
    if (rows.size() != 2)
      throw_error<DataError>("gender_parity: group of row {} has {} rows, expected 2", rows.front(), rows.size());
    const double a = scored.predictions[rows[0]], b = scored.predictions[rows[1]];
    return a == b && a >= 0 ? 1.0 : 0.0;
  });
}

[[maybe_unused]] const bool registered =
    metric_registry().add("multirc_f1a", {.prepare = binary_f1, .groups = Metric::Groups::optional, .ordered = true}) &&
    metric_registry().add("multirc_em", {.prepare = multirc_em, .groups = Metric::Groups::required}) &&
    metric_registry().add("multirc_f1m", {.prepare = multirc_f1m, .groups = Metric::Groups::required}) &&
    metric_registry().add("gender_parity", {.prepare = gender_parity, .groups = Metric::Groups::required});

[[maybe_unused]] const bool described =
    summaries("metric").add("multirc_f1a", {"F1 over all answers"}) &&
    summaries("metric").add("multirc_em", {"share of questions whose answers are all right"}) &&
    summaries("metric").add("multirc_f1m", {"mean F1 of the questions"}) &&
    summaries("metric").add("gender_parity", {"share of pairs that are answered alike"});

}  // namespace
}  // namespace peft
