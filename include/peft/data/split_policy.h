#pragma once
/// Which rows of a task's files become which split (docs/tasks.md#split-policies).

#include <cstdint>
#include <string>
#include <vector>

#include "peft/data/config.h"
#include "peft/data/encoded_split.h"
#include "peft/data/task.h"

namespace peft {

/// The splits that a run reads: those it trains and selects on, and the one it reports where the policy makes that.
std::vector<std::string> run_splits(const SplitConfig& config);

/// Whence a split comes.
struct SplitOrigin {
  enum class Rows { all, held_out, rest };  ///< of a permutation: its first rows, and the others
  std::string files;                        ///< split of the files: train, dev, dev_mismatched, test
  Rows rows = Rows::all;
};

/// Throws ConfigError on keys of split policies and k-shot that contradict each other or do not fit the task.
void check_split_config(const TaskSpec& spec, const std::string& task, const DataConfig& data);

/// Of train, dev or test, with the files' own splits also of a part of one. Throws ConfigError for a part with another policy.
SplitOrigin origin_of(const std::string& split, const TaskSpec& spec, const DataConfig& data);

struct RowCut {
  std::vector<int64_t> held_out, rest;  ///< numbers of examples
};

/// How the policy cuts the examples of `files`, which are those of `files_split`. Throws DataError where there are too few; warns where
/// their number is not that of the papers.
RowCut cut_rows(const EncodedSplit& files, const std::string& files_split, const TaskSpec& spec,
                const std::string& task, const DataConfig& data, const std::vector<std::string>& labels);

/// The metrics of the task under the policy: the first selects the best checkpoint.
std::vector<std::string> metrics_under_policy(const TaskSpec& spec, const DataConfig& data);
/// Whether those are the ones of the papers' code (data.dept_metrics).
bool uses_reference_metrics(const TaskSpec& spec, const DataConfig& data);

}  // namespace peft
