#pragma once
/// One number for a benchmark: the mean over its tasks (docs/tasks.md#aggregates).

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "peft/base/registry.h"

namespace peft {

/// A number of a task: the mean of these metrics.
struct TaskScore {
  std::string name;
  std::vector<std::string> metrics;
};

struct AggregateTask {
  std::string task;
  std::vector<TaskScore> scores;  ///< the first one that all runs of the task have
};

struct Aggregate {
  std::string benchmark;  ///< tasks may be called `benchmark/task` too
  std::vector<AggregateTask> tasks;
};

/// glue, glue8, superglue, superglue5.
Registry<Aggregate>& aggregates();

/// Of several runs: their seeds.
struct Spread {
  int64_t n = 0;
  double mean = 0.0, median = 0.0, minimum = 0.0, maximum = 0.0;
  std::optional<double> deviation = {};  ///< standard deviation with n - 1; nothing for one run
};
Spread spread_of(std::vector<double> values);

struct RunScores {
  std::string run, task;                  ///< its folder, and the task's full name
  std::map<std::string, double> metrics;  ///< fractions, by name
  std::string split = "dev";              ///< that they are of
};

struct AggregateResult {
  struct Task {
    std::string task, score, split;  ///< split: of all runs; "dev, test" where they differ
    Spread spread;
  };
  std::vector<Task> tasks;           ///< those with runs, in the benchmark's order
  std::vector<std::string> missing;  ///< those without: the result is then partial
  std::vector<std::string> others;   ///< runs of tasks that are not part of it
  std::optional<double> mean = {};   ///< over the means of `tasks`
};

/// Runs of one task are its seeds. Throws ConfigError on an unknown aggregate, DataError where a run has no metric that its task needs.
AggregateResult aggregate(const std::string& name, const std::vector<RunScores>& runs);

}  // namespace peft
