#include "peft/metrics/aggregate.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

namespace peft {
namespace {

AggregateTask plain(const std::string& task, const std::vector<std::string>& metrics) {
  return {task, {{fmt::format("{}", fmt::join(metrics, " + ")), metrics}}};
}

// Over both dev files where both are there.
const TaskScore kWholeSplit{"accuracy (whole split)", {"accuracy"}};

// The leaderboard's score of GLUE [Wang et al. 2018].
const Aggregate kGlue{
    "glue",
    {plain("cola", {"mcc"}),
     plain("sst2", {"accuracy"}),
     plain("mrpc", {"accuracy", "f1"}),
     plain("stsb", {"pearson", "spearman"}),
     plain("qqp", {"accuracy", "f1"}),
     {"mnli", {{"accuracy (mean of matched, mismatched)", {"accuracy_matched", "accuracy_mismatched"}}, kWholeSplit}},
     plain("qnli", {"accuracy"}),
     plain("glue/rte", {"accuracy"}),
     plain("wnli", {"accuracy"})}};

// What papers on parameter-efficient fine-tuning print.
const Aggregate kGlue8{"glue",
                       {{"mnli", {{"accuracy (matched)", {"accuracy_matched"}}, kWholeSplit}},
                        plain("qqp", {"accuracy"}),
                        plain("qnli", {"accuracy"}),
                        plain("sst2", {"accuracy"}),
                        plain("stsb", {"pearson"}),
                        plain("mrpc", {"accuracy"}),
                        plain("glue/rte", {"accuracy"}),
                        plain("cola", {"mcc"})}};

// The leaderboard's score of SuperGLUE [Wang et al. 2019].
const Aggregate kSuperGlue{
    "superglue",
    {plain("boolq", {"accuracy"}), plain("cb", {"accuracy", "macro_f1"}), plain("copa", {"accuracy"}),
     plain("multirc", {"multirc_f1a", "multirc_em"}), plain("record", {"squad_f1", "squad_em"}),
     plain("superglue/rte", {"accuracy"}), plain("wic", {"accuracy"}), plain("wsc", {"accuracy"})}};

// That of DePT [arXiv 2309.05173].
const Aggregate kSuperGlue5{"superglue",
                            {{"multirc", {{"multirc_f1a", {"multirc_f1a"}}, {"f1 (of torn questions)", {"f1"}}}},
                             plain("boolq", {"accuracy"}),
                             plain("wic", {"accuracy"}),
                             plain("wsc", {"accuracy"}),
                             plain("cb", {"accuracy"})}};

bool has(const RunScores& run, const TaskScore& score) {
  return std::all_of(score.metrics.begin(), score.metrics.end(),
                     [&](const std::string& metric) { return run.metrics.contains(metric); });
}

double value_of(const RunScores& run, const TaskScore& score) {
  double sum = 0;
  for (const std::string& metric : score.metrics) sum += run.metrics.at(metric);
  return sum / double(score.metrics.size());
}

const TaskScore& score_of_all(const AggregateTask& task, const std::vector<const RunScores*>& runs) {
  for (const TaskScore& score : task.scores)
    if (std::all_of(runs.begin(), runs.end(), [&](const RunScores* run) { return has(*run, score); })) return score;
  const auto bare = std::find_if(runs.begin(), runs.end(), [&](const RunScores* run) {
    return std::none_of(task.scores.begin(), task.scores.end(),
                        [&](const TaskScore& score) { return has(*run, score); });
  });
  if (bare == runs.end())
    throw_error<DataError>("{}: the metrics of {} are not those of {}", runs.back()->run, task.task, runs.front()->run);
  std::vector<std::string> absent;
  for (const std::string& metric : task.scores.back().metrics)
    if (!(*bare)->metrics.contains(metric)) absent.push_back(metric);
  throw_error<DataError>("{}: no {}, which the score of {} needs", (*bare)->run, fmt::join(absent, ", "), task.task);
}

}  // namespace

Registry<Aggregate>& aggregates() {
  static Registry<Aggregate> registry("benchmark");
  return registry;
}

namespace {
[[maybe_unused]] const bool registered = aggregates().add("glue", kGlue) && aggregates().add("glue8", kGlue8) &&
                                         aggregates().add("superglue", kSuperGlue) &&
                                         aggregates().add("superglue5", kSuperGlue5);
}  // namespace

Spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size(), middle = n / 2;
  Spread spread{.n = static_cast<int64_t>(n), .minimum = values.front(), .maximum = values.back()};
  spread.mean = std::accumulate(values.begin(), values.end(), 0.0) / double(n);
  spread.median = n % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  if (n < 2) return spread;
  double squares = 0;
  for (const double value : values) squares += (value - spread.mean) * (value - spread.mean);
  spread.deviation = std::sqrt(squares / double(n - 1));
  return spread;
}

AggregateResult aggregate(const std::string& name, const std::vector<RunScores>& runs) {
  const Aggregate& table = aggregates().at(name);
  AggregateResult result;
  std::vector<bool> used(runs.size());
  double sum = 0;
  for (const AggregateTask& task : table.tasks) {
    std::vector<const RunScores*> seeds;
    for (std::size_t i = 0; i < runs.size(); ++i) {
      if (runs[i].task != task.task && runs[i].task != table.benchmark + "/" + task.task) continue;
      seeds.push_back(&runs[i]);
      used[i] = true;
    }
    if (seeds.empty()) {
      result.missing.push_back(task.task);
      continue;
    }
    const TaskScore& score = score_of_all(task, seeds);
    std::vector<double> values;
    std::set<std::string> splits;
    for (const RunScores* run : seeds) {
      values.push_back(value_of(*run, score));
      splits.insert(run->split);
    }
    result.tasks.push_back(
        {task.task, score.name, fmt::format("{}", fmt::join(splits, ", ")), spread_of(std::move(values))});
    sum += result.tasks.back().spread.mean;
  }
  for (std::size_t i = 0; i < runs.size(); ++i)
    if (!used[i]) result.others.push_back(runs[i].run);
  if (!result.tasks.empty()) result.mean = sum / double(result.tasks.size());
  return result;
}

}  // namespace peft
