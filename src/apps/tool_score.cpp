#include "tool_score.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "peft/base/error.h"
#include "peft/base/json.h"
#include "peft/metrics/metric.h"
#include "src/apps/main.h"
#include "src/apps/tool_score_values.h"

namespace peft {
namespace {

constexpr double unreadable = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t invalid_class = -1;

enum class Side { prediction, reference };

// Class ids of both files: integers as they are, label strings numbered as `names` has them, the others behind in byte
// order.
class ClassReader {
 public:
  ClassReader(const Values& predictions, const Values& references, const std::vector<std::string>& names,
              int64_t num_classes)
      : num_classes_(num_classes) {
    for (const Values* values : {&references, &predictions}) {
      for (const Json& line : values->rows) {
        if (line.is_string()) labels_.emplace(line.get<std::string>(), 0.0);
        for (const Json& member : line.is_array() ? line : Json::array())
          if (member.is_string()) labels_.emplace(member.get<std::string>(), 0.0);
      }
    }
    double id = 0;
    if (strings()) {
      for (const auto& name : names) labels_[name] = id++;
    }
    for (auto& [label, number] : labels_)
      if (std::find(names.begin(), names.end(), label) == names.end()) number = id++;
    if (num_classes > 0 && static_cast<int64_t>(labels_.size()) > num_classes)
      throw_error<DataError>("{}: {} different labels, expected at most {}", references.file, labels_.size(),
                             num_classes);
  }

  bool strings() const { return !labels_.empty(); }

  double operator()(const Values& values, std::size_t row, Side side) const {
    return id_of(values.rows[row], values, row, side);
  }

  /// A list of classes; an invalid prediction is {-1}.
  std::vector<int64_t> set(const Values& values, std::size_t row, Side side) const {
    const Json& value = values.rows[row];
    if (side == Side::prediction && (value.is_null() || value == -1)) return {-1};
    if (!value.is_array()) values.fail(row, "{}; expected a list of classes", value.dump());
    std::vector<int64_t> ids;
    for (const Json& member : value)
      ids.push_back(static_cast<int64_t>(id_of(member, values, row, Side::reference)));  // none is invalid alone
    std::sort(ids.begin(), ids.end());
    if (std::adjacent_find(ids.begin(), ids.end()) != ids.end())
      values.fail(row, "{}; a class occurs twice", value.dump());
    return ids;
  }

 private:
  double id_of(const Json& value, const Values& values, std::size_t row, Side side) const {
    if (value.is_string()) return labels_.at(value.get_ref<const std::string&>());
    if (value.is_null() || value == -1) {
      if (side == Side::reference) values.fail(row, "{}; a reference needs a class", value.dump());
      return invalid_class;
    }
    const double id = value.is_number() ? value.get<double>() : unreadable;
    if (!(id >= 0) || id != std::floor(id) || id >= 0x1p53)
      values.fail(row, "{}; expected a class id or a label", value.dump());
    if (strings()) values.fail(row, "{}; other lines hold label strings", value.dump());
    if (num_classes_ > 0 && id >= double(num_classes_))
      values.fail(row, "{}; expected a class id from 0 to {}", value.dump(), num_classes_ - 1);
    return id;
  }

  std::map<std::string, double> labels_;
  int64_t num_classes_;
};

double read_number(const Values& values, std::size_t row, Side side) {
  const Json& value = values.rows[row];
  if (value.is_number()) return value.get<double>();
  if (value.is_null() && side == Side::prediction) return unreadable;
  values.fail(row, "{}; expected a number{}", value.dump(), side == Side::prediction ? " or null" : "");
}

/// `ordered`: the metric that takes class 1 for the positive one, if there is one.
Scored read_scored(Metric::Input input, const PredictedValues& predicted, Values references, int64_t num_classes,
                   const std::string& ordered) {
  match_references(predicted, input == Metric::Input::numbers, references);
  const Values& predictions = predicted.predictions;
  Scored scored;
  scored.num_classes = num_classes;
  const std::size_t n = references.rows.size();
  if (input == Metric::Input::numbers) {
    for (std::size_t row = 0; row < n; ++row) {
      scored.predictions.push_back(read_number(predictions, row, Side::prediction));
      scored.references.push_back(read_number(references, row, Side::reference));
    }
    return scored;
  }
  const ClassReader read(predictions, references, predicted.names, num_classes);
  if (references.rows.front().is_array()) {
    for (std::size_t row = 0; row < n; ++row) {
      scored.reference_sets.push_back(read.set(references, row, Side::reference));
      scored.predicted_sets.push_back(read.set(predictions, row, Side::prediction));
    }
    return scored;
  }
  if (!ordered.empty() && read.strings() && predicted.names.empty())
    throw_error<DataError>("{}: label strings; {} needs class ids, with 1 the positive class", references.file,
                           ordered);
  for (std::size_t row = 0; row < n; ++row) {
    scored.references.push_back(read(references, row, Side::reference));
    scored.predictions.push_back(read(predictions, row, Side::prediction));
  }
  return scored;
}

// Groups numbered in order of first appearance; 1 and "1" are different ones.
std::vector<int64_t> read_groups(const Values& values) {
  std::map<Json, int64_t> numbers;
  std::vector<int64_t> groups;
  for (std::size_t row = 0; row < values.rows.size(); ++row) {
    const Json& value = values.rows[row];
    if (!value.is_number_integer() && !value.is_string())
      values.fail(row, "{}; expected an integer or a string", value.dump());
    groups.push_back(numbers.emplace(value, static_cast<int64_t>(numbers.size())).first->second);
  }
  return groups;
}

// A number -1 is a good prediction.
int64_t count_invalid(const Scored& scored, Metric::Input input) {
  const auto& sets = scored.predicted_sets;
  if (scored.sets()) return std::count(sets.begin(), sets.end(), std::vector<int64_t>{invalid_class});
  return std::count_if(scored.predictions.begin(), scored.predictions.end(), [&](double p) {
    return std::isnan(p) || (input == Metric::Input::classes && p == invalid_class);
  });
}

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
    const Metric::Input input = metric_registry().at(name).input;
    if (!inputs.contains(input)) {
      Scored scored = read_scored(input, predicted, references, num_classes, ordered);
      scored.groups = groups;
      if (input == Metric::Input::classes || !classes) out["invalid"] = count_invalid(scored, input);
      inputs.emplace(input, std::move(scored));
    }
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
      "class ids or labels (null, -1: invalid), lists of them, or numbers (null: unreadable); rows of peft-predict or "
      "of a "
      "predictions file",
      cxxopts::value(options.predictions), "FILE");
  add("references",
      "the right values; JSON Lines, csv or tsv with a column of them; else those of the predictions file",
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
