#include "src/apps/tool_compare.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>

#include "peft/data/dataset.h"
#include "peft/metrics/compare.h"
#include "src/apps/main.h"
#include "src/apps/tool_compare_sides.h"
#include "src/apps/tool_score_rows.h"

namespace peft {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr const char* kRemark = "one seed a side: the tests see the sampling of rows, not the noise of training";

struct CompareArguments {
  std::vector<std::string> paths;
  std::string split, metric;
  int64_t resamples = 10'000;
  uint64_t seed = 0;
};

/// Nothing when the help was asked for and printed.
std::optional<CompareArguments> parse_compare(int argc, char** argv) {
  CompareArguments arguments;
  cxxopts::Options options(
      "peft-tool compare",
      "Whether one run is better than another: paired tests on the rows that both predict. More than\n"
      "two are compared with the first, a line each, with p adjusted by Holm's method");
  options.add_options()("paths", "run folders, or predictions files with idx and reference",
                        cxxopts::value<std::vector<std::string>>(), "A B [C...]")(
      "split", "of run folders: predictions/NAME.jsonl (default: the one that the run reports, dev or test)",
      cxxopts::value(arguments.split),
      "NAME")("metric", "one metric (default: the first one of the runs' task)", cxxopts::value(arguments.metric),
              "NAME")("bootstrap", "resamples", cxxopts::value(arguments.resamples)->default_value("10000"), "B")(
      "bootstrap-seed", "seed of the resamples", cxxopts::value(arguments.seed)->default_value("0"), "S");
  options.parse_positional("paths");
  options.positional_help("A B [C...]");
  const auto parsed =
      parse_command_line(options, argc, argv,
                         {"peft-tool compare runs/quickstart/lora runs/quickstart/prefix",
                          "peft-tool compare lora.jsonl prefix.jsonl prompt.jsonl --metric accuracy --bootstrap 1000"});
  if (!parsed) return std::nullopt;
  for (const cxxopts::KeyValue& argument : parsed->arguments())  // as given: cxxopts would split a path at its commas
    if (argument.key() == "paths") arguments.paths.push_back(argument.value());
  if (arguments.paths.size() < 2)
    throw_error<ConfigError>("peft-tool compare: {} given; expected two or more run folders or predictions files",
                             arguments.paths.size());
  if (arguments.resamples < 1) throw_error<ConfigError>("--bootstrap {}: expected at least 1", arguments.resamples);
  if (!arguments.split.empty()) arguments.split = canonical_split(arguments.split);
  return arguments;
}

/// All sides with equal rows in equal order.
std::vector<ComparedSide> read_sides(const CompareArguments& arguments) {
  std::vector<ComparedSide> sides;
  const ComparedSide* run = nullptr;  // the first one
  for (const std::string& path : arguments.paths) sides.push_back(read_side(path, arguments.split));
  for (ComparedSide& side : sides) {
    if (run != nullptr && !side.task.empty() && side.task != run->task)
      throw_error<ConfigError>("{} is of task {}, {} of {}", side.name, side.task, run->name, run->task);
    if (run == nullptr && !side.task.empty()) run = &side;
    if (&side != &sides.front()) match_rows(sides.front(), side);
  }
  return sides;
}

std::string metric_of(const CompareArguments& arguments, const std::vector<ComparedSide>& sides) {
  if (!arguments.metric.empty()) return arguments.metric;
  for (const ComparedSide& side : sides)
    if (!side.metric.empty()) return side.metric;
  throw ConfigError("peft-tool compare: --metric NAME is missing: predictions files do not tell their task");
}

/// Class id -> name, one order for all sides: what the first one tells that tells any, else the labels that occur.
std::vector<std::string> class_names(const std::string& metric, const std::vector<ComparedSide>& sides, bool& told) {
  told = true;
  for (const ComparedSide& side : sides)
    if (!side.values.names.empty()) return side.values.names;
  told = false;
  std::set<std::string> labels;
  const auto collect = [&](const Values& values) {
    for (const Json& value : values.rows) {
      if (value.is_string()) labels.insert(value.get<std::string>());
      for (const Json& member : value.is_array() ? value : Json::array())
        if (member.is_string()) labels.insert(member.get<std::string>());
    }
  };
  for (const ComparedSide& side : sides) {
    collect(side.values.predictions);
    collect(side.values.references);
  }
  if (!labels.empty() && metric_registry().at(metric).ordered)
    throw_error<ConfigError>(
        "{} takes one class for the positive one, and predictions files do not tell which; give run folders", metric);
  return {labels.begin(), labels.end()};
}

std::vector<Scored> scored_sides(const std::string& name, std::vector<ComparedSide>& sides) {
  const Metric& metric = metric_registry().at(name);
  bool told = false;
  std::vector<std::string> names;
  if (metric.input == Metric::Input::classes) names = class_names(name, sides, told);
  std::vector<Scored> scored;
  for (ComparedSide& side : sides) {
    side.values.names = names;
    const int64_t classes = told ? static_cast<int64_t>(names.size()) : 0;
    check_texts(metric, side.values.references);
    scored.push_back(read_scored(metric.input, side.values, side.values.references, classes, "").scored);
    if (metric.groups == Metric::Groups::none) continue;
    if (metric.groups == Metric::Groups::required && side.values.groups.rows.empty())
      throw_error<DataError>("{}: no group in its rows; {} needs them", side.values.predictions.file, name);
    scored.back().groups = read_groups(side.values.groups);
  }
  return scored;
}

/// Holm's adjustment over the pairs, beside the raw p; null where that is.
void add_holm(std::vector<OrderedJson>& reports, const std::string& key) {
  std::vector<double> p;
  for (const OrderedJson& report : reports) {
    if (report[key].is_null()) return;
    p.push_back(report[key].get<double>());
  }
  const std::vector<double> adjusted = holm_adjusted(p);
  for (std::size_t i = 0; i < reports.size(); ++i) reports[i][key + "_holm"] = adjusted[i];
}

OrderedJson report_of(const Comparison& result, const ComparedSide& a, const ComparedSide& b) {
  OrderedJson undefined = OrderedJson::array();
  if (!result.a.undefined.empty()) undefined.push_back("a");
  if (!result.b.undefined.empty()) undefined.push_back("b");
  OrderedJson report{{"runs", {a.name, b.name}},
                     {"a", result.a.value},
                     {"b", result.b.value},
                     {"difference", result.difference},
                     {"ci95", {result.ci95.low, result.ci95.high}},
                     {"p_bootstrap", result.p_bootstrap},
                     {"only_a", nullptr},
                     {"only_b", nullptr},
                     {"p_mcnemar", nullptr},
                     {"undefined", undefined}};
  if (result.rows) {
    report["only_a"] = result.rows->only_a;
    report["only_b"] = result.rows->only_b;
    report["p_mcnemar"] = mcnemar_p(*result.rows);
  }
  return report;
}

}  // namespace

int tool_compare(int argc, char** argv) {
  const auto arguments = parse_compare(argc, argv);
  if (!arguments) return static_cast<int>(ExitCode::done);
  std::vector<ComparedSide> sides = read_sides(*arguments);
  const std::string metric = metric_of(*arguments, sides);
  const std::vector<Scored> scored = scored_sides(metric, sides);
  std::vector<OrderedJson> reports;
  for (std::size_t i = 1; i < sides.size(); ++i) {
    const Comparison result = compare_scores(metric, scored.front(), scored[i], arguments->resamples, arguments->seed);
    reports.push_back(report_of(result, sides.front(), sides[i]));
  }
  if (reports.size() > 1) {
    add_holm(reports, "p_bootstrap");
    add_holm(reports, "p_mcnemar");
  }
  const std::string& told = sides.front().split.empty() ? sides.back().split : sides.front().split;
  const OrderedJson split = told.empty() ? OrderedJson() : OrderedJson(told);
  for (OrderedJson& report : reports) {
    report.update(
        {{"metric", metric}, {"split", split}, {"n", scored.front().rows()}, {"seeds", {1, 1}}, {"remark", kRemark}});
    print_result(report.dump() + "\n");
  }
  return static_cast<int>(ExitCode::done);
}

}  // namespace peft
