#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <map>
#include <numeric>

#include "peft/metrics/metrics.h"
#include "peft/train/sweep.h"

namespace peft {
namespace {

struct Row {
  std::vector<std::string> cells;  // of the varied keys
  std::string task, metric, policy;
  std::string failure;  // why the last run without a score has none
  int64_t parameters = 0, runs = 0;
  std::vector<double> scores, tests;  // on dev, and on the test split of the policy where it makes one
};

std::string cell_text(const Json& value) {
  if (value.is_object()) {
    std::string text;
    for (const auto& [key, inner] : value.items())
      text += (text.empty() ? "" : " ") + key + "=" + (inner.is_string() ? inner.get<std::string>() : inner.dump());
    return text;
  }
  return value.is_string() ? value.get<std::string>() : value.dump();
}

constexpr std::array kSeeds{"train.seed", "train.data_seed", "data.k_shot_seed"};

bool is_seed(const std::string& path) { return std::find(kSeeds.begin(), kSeeds.end(), path) != kSeeds.end(); }

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/// Standard deviation over seeds with n - 1 in the denominator; 0 for one seed.
double spread(const std::vector<double>& values) {
  if (values.size() < 2) return 0.0;
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  double squares = 0.0;
  for (const double v : values) squares += (v - mean) * (v - mean);
  return std::sqrt(squares / static_cast<double>(values.size() - 1));
}

/// Stays within its cell of a table.
std::string markdown_cell(const std::string& text) {
  std::string cell;
  for (const char c : text) {
    if (c == '|') cell += '\\';
    cell += c == '\n' || c == '\r' ? ' ' : c;
  }
  return cell;
}

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}

std::string joined(const std::vector<std::string>& cells, std::string (*written)(const std::string&),
                   const char* separator) {
  std::vector<std::string> texts;
  for (const std::string& cell : cells) texts.push_back(written(cell));
  return fmt::format("{}", fmt::join(texts, separator));
}

}  // namespace

SweepSummary summarise(const std::vector<SweepRun>& runs, const std::vector<SweepOutcome>& outcomes) {
  std::vector<std::string> paths;  // varied keys but the seeds, in their order
  for (const SweepRun& run : runs) {
    for (const auto& [path, value] : run.point.items()) {
      if (!is_seed(path) && std::find(paths.begin(), paths.end(), path) == paths.end()) paths.push_back(path);
    }
  }
  std::vector<Row> rows;
  std::map<std::string, std::size_t> known;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    Json point = runs[i].point;
    for (const char* seed : kSeeds) point.erase(seed);
    const auto [place, fresh] = known.emplace(point.dump(), rows.size());
    if (fresh) {
      rows.emplace_back();
      for (const std::string& path : paths)
        rows.back().cells.push_back(point.contains(path) ? cell_text(point[path]) : "");
    }
    Row& row = rows[place->second];
    ++row.runs;
    if (!outcomes[i].failure.empty()) row.failure = outcomes[i].failure;
    const Json& metrics = outcomes[i].metrics;
    if (metrics.empty()) continue;
    row.task = metrics.value("task", "");
    row.metric = metrics.value("best_metric", "");
    row.policy = metrics.value("split_policy", "");
    if (const auto test = metrics.find("test_" + row.metric); test != metrics.end() && test->is_number())
      row.tests.push_back(test->get<double>());
    row.parameters = metrics.value("trainable_parameters", int64_t{0});
    const auto score = metrics.find("eval_" + row.metric);
    if (score != metrics.end() && score->is_number()) {
      row.scores.push_back(score->get<double>());
    } else {
      row.failure = row.metric.empty() ? "no dev split" : fmt::format("{} is not finite", row.metric);
    }
  }
  const auto best = [](const Row& row) {
    return lower_is_better(row.metric) ? *std::min_element(row.scores.begin(), row.scores.end())
                                       : *std::max_element(row.scores.begin(), row.scores.end());
  };
  std::stable_sort(rows.begin(), rows.end(), [&](const Row& a, const Row& b) {
    if (a.scores.empty() || b.scores.empty()) return !a.scores.empty() && b.scores.empty();
    if (a.task != b.task || a.metric != b.metric) return std::tie(a.task, a.metric) < std::tie(b.task, b.metric);
    return lower_is_better(a.metric) ? median(a.scores) < median(b.scores) : median(a.scores) > median(b.scores);
  });

  SweepSummary summary;
  summary.header = paths;
  const bool tested = std::any_of(rows.begin(), rows.end(), [](const Row& row) { return !row.tests.empty(); });
  for (const char* name : {"task", "metric", "runs", "best", "median", "spread"}) summary.header.emplace_back(name);
  if (tested) summary.header.insert(summary.header.end(), {"split policy", "test median", "test spread"});
  for (const char* name : {"trained parameters", "note"}) summary.header.emplace_back(name);
  for (const Row& row : rows) {
    std::vector<std::string> cells = row.cells;
    const auto number = [&](double x) { return row.scores.empty() ? std::string() : fmt::format("{:.4f}", x); };
    const int64_t missing = row.runs - static_cast<int64_t>(row.scores.size());
    std::string note;
    if (missing > 0)
      note = fmt::format("{} without a score{}{}", missing, row.failure.empty() ? "" : ": ", row.failure);
    cells.insert(cells.end(),
                 {row.task, row.metric, std::to_string(row.scores.size()), number(row.scores.empty() ? 0 : best(row)),
                  number(row.scores.empty() ? 0 : median(row.scores)), number(spread(row.scores))});
    if (tested) {
      const auto test = [&](double x) { return row.tests.empty() ? std::string() : fmt::format("{:.4f}", x); };
      cells.insert(cells.end(), {row.policy, test(row.tests.empty() ? 0 : median(row.tests)), test(spread(row.tests))});
    }
    cells.insert(cells.end(), {row.scores.empty() ? "" : std::to_string(row.parameters), note});
    summary.rows.push_back(std::move(cells));
  }
  return summary;
}

std::string SweepSummary::markdown() const {
  const auto line = [](const auto& cells) { return "| " + joined(cells, markdown_cell, " | ") + " |\n"; };
  std::string text = line(header) + "|";
  for (std::size_t i = 0; i < header.size(); ++i) text += "---|";
  text += "\n";
  for (const auto& row : rows) text += line(row);
  return text;
}

std::string SweepSummary::csv() const {
  std::string text = joined(header, csv_cell, ",") + "\n";
  for (const auto& row : rows) text += joined(row, csv_cell, ",") + "\n";
  return text;
}

}  // namespace peft
