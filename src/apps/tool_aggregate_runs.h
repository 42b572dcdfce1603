#pragma once
/// What `peft-tool aggregate` reads of run folders.

#include <string>
#include <vector>

#include "peft/metrics/aggregate.h"

namespace peft {

struct FailedRun {
  std::string run, task, reason;
};

struct BenchmarkRuns {
  std::vector<RunScores> finished;
  std::vector<FailedRun> failed;  ///< stopped by a guard, or not finished
};

/// Warns where runs of one task differ in more than their seeds. Throws ConfigError on a folder that is given twice, DataError on one
/// that is no run.
BenchmarkRuns read_runs(const std::vector<std::string>& folders);

}  // namespace peft
