#pragma once
/// The table of tasks (docs/tasks.md#tasks-of-glue): what the files of a task look like, which sequences an example becomes, what its label means.
/// One file of src/data/tasks/ adds one task.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "peft/base/registry.h"
#include "peft/data/target.h"
#include "peft/text/tokenizer.h"

namespace peft {

struct TaskSpec {
  /// The benchmark's dump: its folder and, for tsv, the columns in their order and how labels are spelled there (id order). A dump
  /// without tsv columns is JSON Lines with the names of the fields below.
  struct Dump {
    std::string folder = {};
    std::vector<std::string> train_columns = {};  ///< of train and dev
    std::vector<std::string> test_columns = {};
    bool headerless = false;              ///< train and dev have no header line
    std::vector<std::string> texts = {};  ///< columns of the fields, in order
    std::string label = {};
    std::vector<std::string> spellings = {};   ///< empty: the label names
    std::map<std::string, int64_t> rows = {};  ///< split -> official number of records
    bool tsv() const { return !train_columns.empty(); }
  };
  /// One text, or a pair for the tokenizer's template. Fields of the record stand in braces: "{premise}{question}". "{{" is a brace. The
  /// last field may be optional, "{text_pair?}": without it the side is left out; or a list, "{choices*}": one sequence for each of
  /// its members.
  struct Sequence {
    std::string text;
    std::string text_pair = {};
  };
  Dump dump = {};
  std::vector<Sequence> sequences = {};  ///< of an example
  Truncation truncation = Truncation::longest_first;
  /// Field -> the values it may have, each with what stands for it in the text.
  std::map<std::string, std::map<std::string, std::string>> wordings = {};
  std::string label = "label", idx = "idx", group = {};  ///< columns in csv and jsonl files; no group: none
  TargetKind target = TargetKind::class_id;
  std::string objective = "classification";  ///< of objectives/objective.h
  std::vector<std::string> labels = {};   ///< class id -> name; empty where there are no classes or data.labels decides
  bool own_files = false;                 ///< files of users: data.columns and data.labels apply
  bool bounded = false;                   ///< scores must lie in 0..5 and are stored as float32
  std::vector<std::string> metrics = {};  ///< the first selects the best checkpoint

  bool has_classes() const { return target == TargetKind::class_id || target == TargetKind::classes; }
  /// The classes are those of data.labels or of the train split.
  bool labels_from_files() const { return own_files && has_classes(); }
};

Registry<TaskSpec>& task_registry();

/// The task's full name: "rte" is "glue/rte", "copa" is "superglue/copa". Throws ConfigError on an unknown one.
std::string resolve_task_name(const std::string& name);

}  // namespace peft
