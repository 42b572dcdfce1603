#pragma once
/// The table of tasks (docs/tasks.md#tasks-of-glue): what the files of a task look like and how its rows are read. One file of
/// src/data/tasks/ adds one task.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "peft/base/registry.h"

namespace peft {

struct TaskSpec {
  /// The benchmark's dump: its folder, the columns of its tsv files in their order, and how labels are spelled there (id order).
  struct Dump {
    std::string folder = {};
    std::vector<std::string> train_columns = {};  ///< of train and dev
    std::vector<std::string> test_columns = {};
    bool headerless = false;              ///< train and dev have no header line
    std::vector<std::string> texts = {};  ///< one or two of the columns
    std::string label = {};
    std::vector<std::string> spellings = {};   ///< empty: the label names
    std::map<std::string, int64_t> rows = {};  ///< split -> official number of rows
  };
  Dump dump = {};
  std::vector<std::string> texts = {};   ///< columns in csv and jsonl files (the datasets library's names)
  std::vector<std::string> labels = {};  ///< class id -> name; empty for regression and where data.labels decides
  bool regression = false;
  bool own_files = false;                 ///< files of users: data.columns and data.labels apply
  bool bounded = false;                   ///< scores must lie in 0..5 and are stored as float32
  std::vector<std::string> metrics = {};  ///< the first selects the best checkpoint
};

Registry<TaskSpec>& task_registry();

/// The task's full name: "rte" is "glue/rte". Throws ConfigError on an unknown one.
std::string resolve_task_name(const std::string& name);

}  // namespace peft
