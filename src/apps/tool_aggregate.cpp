#include "src/apps/tool_aggregate.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>

#include "peft/base/error.h"
#include "peft/base/log.h"
#include "src/apps/main.h"
#include "src/apps/tool_aggregate_runs.h"

namespace peft {
namespace {

using OrderedJson = nlohmann::ordered_json;

struct AggregateArguments {
  std::string benchmark;
  std::vector<std::string> runs;
  bool json = false;
};

/// Nothing when the help was asked for and printed.
std::optional<AggregateArguments> parse_aggregate(int argc, char** argv) {
  AggregateArguments arguments;
  const auto known = fmt::format("{}", fmt::join(aggregates().names(), ", "));
  cxxopts::Options options("peft-tool aggregate",
                           "The score of a benchmark: the mean over its tasks. Several runs of a task are its seeds; "
                           "fractions times 100");
  options.add_options()("benchmark", known, cxxopts::value(arguments.benchmark), "NAME")(
      "runs", "run folders", cxxopts::value<std::vector<std::string>>(), "RUN...")(
      "json", "one JSON object instead of a table, in fractions");
  options.parse_positional("runs");
  options.positional_help("RUN...");
  const auto parsed = parse_command_line(options, argc, argv,
                                         {"peft-tool aggregate --benchmark glue8 runs/glue/*",
                                          "peft-tool aggregate --benchmark superglue runs/cb-1 runs/cb-2 --json"});
  if (!parsed) return std::nullopt;
  if (arguments.benchmark.empty())
    throw_error<ConfigError>("peft-tool aggregate: --benchmark NAME is missing (known: {})", known);
  aggregates().at(arguments.benchmark);
  for (const cxxopts::KeyValue& argument : parsed->arguments())  // as given: cxxopts would split a path at its commas
    if (argument.key() == "runs") arguments.runs.push_back(argument.value());
  if (arguments.runs.empty()) throw ConfigError("peft-tool aggregate: RUN is missing; expected run folders");
  arguments.json = parsed->count("json") != 0;
  return arguments;
}

template <class Value>
OrderedJson or_null(const std::optional<Value>& value) {
  return value ? OrderedJson(*value) : OrderedJson();
}

OrderedJson json_of(const std::string& benchmark, const AggregateResult& result, const BenchmarkRuns& runs) {
  OrderedJson report{
      {"benchmark", benchmark},    {"score", or_null(result.mean)},  {"partial", !result.missing.empty()},
      {"missing", result.missing}, {"tasks", OrderedJson::object()}, {"failed", OrderedJson::array()}};
  for (const AggregateResult::Task& task : result.tasks)
    report["tasks"][task.task] = {{"metric", task.score},
                                  {"split", task.split},
                                  {"n", task.spread.n},
                                  {"mean", task.spread.mean},
                                  {"standard_deviation", or_null(task.spread.deviation)},
                                  {"median", task.spread.median},
                                  {"minimum", task.spread.minimum},
                                  {"maximum", task.spread.maximum}};
  for (const FailedRun& run : runs.failed)
    report["failed"].push_back({{"run", run.run}, {"task", run.task}, {"reason", run.reason}});
  return report;
}

std::string percent(double fraction) { return fmt::format("{:.1f}", 100 * fraction); }

std::string table_of(const std::string& benchmark, const AggregateResult& result, const BenchmarkRuns& runs) {
  using Row = std::array<std::string, 9>;
  std::vector<Row> rows{{"task", "metric", "split", "seeds", "mean", "sd", "median", "min", "max"}};
  for (const auto& [task, score, split, spread] : result.tasks)
    rows.push_back({task, score, split, std::to_string(spread.n), percent(spread.mean),
                    spread.deviation ? percent(*spread.deviation) : "-", percent(spread.median),
                    percent(spread.minimum), percent(spread.maximum)});
  std::array<std::size_t, 9> widths{};
  for (const Row& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  std::string text;
  for (const Row& row : rows) {
    text += fmt::format("{:<{}}  {:<{}}  {:<{}}", row[0], widths[0], row[1], widths[1], row[2], widths[2]);
    for (std::size_t i = 3; i < row.size(); ++i) text += fmt::format("  {:>{}}", row[i], widths[i]);
    text += "\n";
  }
  const std::size_t all = result.tasks.size() + result.missing.size();
  text += fmt::format("\n{}{}  {}\n", benchmark,
                      result.missing.empty() ? "" : fmt::format(" (partial: {} of {} tasks)", result.tasks.size(), all),
                      result.mean ? percent(*result.mean) : "no finished run");
  if (!result.missing.empty()) text += fmt::format("missing: {}\n", fmt::join(result.missing, ", "));
  for (const FailedRun& run : runs.failed)
    text += fmt::format("failed, not counted: {} ({}): {}\n", run.run, run.task, run.reason);
  if (std::any_of(result.tasks.begin(), result.tasks.end(),
                  [](const auto& task) { return task.split.starts_with("dev"); }))
    text += "dev: selected on the reported split\n";
  return text;
}

}  // namespace

int tool_aggregate(int argc, char** argv) {
  const auto arguments = parse_aggregate(argc, argv);
  if (!arguments) return static_cast<int>(ExitCode::done);
  const BenchmarkRuns runs = read_runs(arguments->runs);
  const AggregateResult result = aggregate(arguments->benchmark, runs.finished);
  for (const std::string& run : result.others)
    log_warning("{}: passed over: its task is not part of {}", run, arguments->benchmark);
  print_result(arguments->json ? json_of(arguments->benchmark, result, runs).dump(2) + "\n"
                               : table_of(arguments->benchmark, result, runs));
  return static_cast<int>(ExitCode::done);
}

}  // namespace peft
