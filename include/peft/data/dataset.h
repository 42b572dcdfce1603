#pragma once
/// A task's examples, read and encoded once.

#include <map>
#include <string>
#include <vector>

#include "peft/data/config.h"
#include "peft/data/encoded_split.h"
#include "peft/text/tokenizer.h"

namespace peft {

struct TaskSpec;

/// What must be known of a task once its files are read.
struct TaskInfo {
  std::string name;                  ///< resolved: "glue/rte", never plain "rte"
  std::string objective;             ///< of objectives/objective.h
  std::vector<std::string> labels;   ///< class id -> name; empty where there are no classes
  std::vector<std::string> metrics;  ///< under the split policy; the first selects the best checkpoint
  /// Of the numbers that make up an example's idx, outermost first; empty: it is one number.
  std::vector<std::string> idx_names = {};
};

struct Dataset {
  TaskInfo task;
  std::map<std::string, EncodedSplit> splits;  ///< those found among the ones asked for
  DataConfig data;                             ///< how they were read and split
  std::string fingerprint;                     ///< of content and rules (docs/tasks.md#reports-and-fingerprints)
  const EncodedSplit* find(const std::string& split) const;
};

/// Reads, encodes and distributes (docs/tasks.md#split-policies) the splits asked for ("train", "dev", "test", or one part of a split, "dev_matched"; accepted spellings of
/// docs/tasks.md#finding-files). A split that is not there is left out; the caller decides whether it needs it. The result holds what was resolved: the task's full name, and its labels, also
/// where they come from the train split. Throws ConfigError (unknown task or key) and DataError (files; docs/tasks.md#bad-input).
Dataset load_dataset(const TaskConfig& task, const DataConfig& data, const Tokenizer& tokenizer,
                     const std::vector<std::string>& splits);

/// Canonical spelling of a split: dev = val = valid = validation = eval. Throws ConfigError on an unknown one.
std::string canonical_split(const std::string& name);
/// The same where `name` may also be a part of a split of the task: validation-mm is dev_mismatched.
std::string canonical_split(const std::string& name, const TaskSpec& spec);
/// The numbers and columns of a task that its files do not change.
TaskInfo task_info(const std::string& full_name);
/// The full name of the task. Where several tasks have the short name, as "rte", the columns of the files decide.
std::string resolve_task(const TaskConfig& task, const DataConfig& data, const std::vector<std::string>& splits);

}  // namespace peft
