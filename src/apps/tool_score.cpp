#include "tool_score.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "peft/base/error.h"
#include "peft/base/json.h"
#include "src/apps/main.h"
#include "src/apps/tool_score_rows.h"

namespace peft {
namespace {

struct Options {
  std::vector<std::string> metrics;
  std::string predictions, references, groups, adapter, column = "label";
  int64_t num_classes = 0, resamples = 0;
  uint64_t seed = 0;
};

Json score(const Options& options) {
  std::string ordered;
  bool classes = false;
  for (const auto& name : options.metrics) {
    const Metric& metric = metric_registry().at(name);
    if (metric.ordered) ordered = name;
    classes = classes || metric.input == Metric::Input::classes;
  }

  const PredictedValues predicted = read_predictions(options.predictions, options.adapter);
  const bool own = options.references.empty();
  const Values references = own ? predicted.references : read_references(options.references, options.column);
  if (own && references.rows.size() != predicted.predictions.rows.size())
    throw_error<ConfigError>("--references is missing: {} holds no reference in every row", options.predictions);
  int64_t num_classes = options.num_classes;
  if (num_classes == 0) num_classes = static_cast<int64_t>(predicted.names.size());
  bool grouped = !options.groups.empty();
  for (const auto& name : options.metrics) {
    const Metric& metric = metric_registry().at(name);
    const bool required = metric.groups == Metric::Groups::required;
    if (required && options.groups.empty() && predicted.groups.rows.empty())
      throw_error<ConfigError>("{} needs --groups", name);
    if (metric.all_classes && num_classes == 0) throw_error<ConfigError>("{} needs --num-classes", name);
    grouped = grouped || required;
  }
  std::vector<int64_t> groups;
  if (grouped) {
    const Values values = options.groups.empty() ? predicted.groups : read_values(options.groups);
    if (values.rows.size() != references.rows.size())
      throw_error<DataError>("{}: {} lines, expected {} as in {}", values.file, values.rows.size(),
                             references.rows.size(), references.file);
    groups = read_groups(values);
  }
  Json out{{"n", references.rows.size()}, {"undefined", Json::array()}};
  std::map<Metric::Input, Scored> inputs;
  for (const auto& name : options.metrics) {
    const Metric& metric = metric_registry().at(name);
    const Metric::Input input = metric.input;
    if (!inputs.contains(input)) {
      ScoredRows rows = read_scored(input, predicted, references, num_classes, ordered);
      rows.scored.groups = groups;
      if (input == Metric::Input::classes || !classes) out["invalid"] = rows.invalid;
      inputs.emplace(input, std::move(rows.scored));
    }
    check_texts(metric, references);
    const Scored& scored = inputs.at(input);
    const MetricValue value = compute_metric(name, scored);
    out[name] = value.value;
    if (!value.undefined.empty()) out["undefined"].push_back(name);
    if (options.resamples == 0) continue;
    const Interval interval = bootstrap_interval(name, scored, options.resamples, options.seed);
    out["ci95"][name] = {interval.low, interval.high};
  }
  return out;
}

}  // namespace

int tool_score(int argc, char** argv) {
  cxxopts::Options usage(
      "peft-tool score",
      "Scores of predictions against the right values: one JSON value a line in each file, or the rows of\n"
      "peft-predict, or a predictions file, beside a labelled file\n\n"
      "Example:\n"
      "  peft-tool score --metric accuracy --predictions p.jsonl --references test.tsv --label-column label\n");
  std::string known;
  for (const auto& name : metric_names()) known += (known.empty() ? "" : ", ") + name;
  Options options;
  std::string metrics;
  auto add = usage.add_options();
  add("metric", "metrics, separated by commas: " + known, cxxopts::value(metrics), "NAME[,NAME...]");
  add("predictions",
      "class ids or labels (null, -1: invalid), lists of them, numbers (null: unreadable), or texts (null: none); rows "
      "of peft-predict or of a predictions file",
      cxxopts::value(options.predictions), "FILE");
  add("references",
      "the right values, of texts one or a list of several a row; JSON Lines, csv or tsv with a column of them; else "
      "those of the predictions file",
      cxxopts::value(options.references), "FILE");
  add("label-column", "column of the right values (default label)", cxxopts::value(options.column), "NAME");
  add("adapter", "whose predictions, where rows hold those of several", cxxopts::value(options.adapter), "DIR");
  add("groups", "question or pair of each row: integers or strings", cxxopts::value(options.groups), "FILE");
  add("num-classes", "number of classes; ids outside 0..N-1 are then errors", cxxopts::value(options.num_classes), "N");
  add("bootstrap", "resamples for a 95 % interval", cxxopts::value(options.resamples), "B");
  add("bootstrap-seed", "seed of the resamples (default 0)", cxxopts::value(options.seed), "S");
  const auto arguments = parse_command_line(usage, argc, argv,
                                            {"peft-tool score --metric accuracy,f1 --predictions predictions.jsonl "
                                             "--references labels.jsonl --bootstrap 1000"});
  if (!arguments) return static_cast<int>(ExitCode::done);
  const cxxopts::ParseResult& parsed = *arguments;
  for (const char* name : {"metric", "predictions"})
    if (!parsed.count(name)) throw_error<ConfigError>("score: --{} is missing", name);
  if (parsed.count("num-classes") && options.num_classes < 1)
    throw_error<ConfigError>("score: --num-classes {}; expected at least 1", options.num_classes);
  if (parsed.count("bootstrap") && options.resamples < 1)
    throw_error<ConfigError>("score: --bootstrap {}; expected at least 1", options.resamples);
  for (std::size_t begin = 0; begin <= metrics.size();) {
    const std::size_t end = std::min(metrics.find(',', begin), metrics.size());
    options.metrics.push_back(metrics.substr(begin, end - begin));
    begin = end + 1;
  }
  fmt::print("{}\n", score(options).dump());
  return static_cast<int>(ExitCode::done);
}

}  // namespace peft
