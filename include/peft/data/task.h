#pragma once
/// The table of tasks (docs/tasks.md#tasks-of-glue): what the files of a task look like, which sequences an example becomes, what its label means.
/// One file of src/data/tasks/ adds one task.

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "peft/base/registry.h"
#include "peft/data/record.h"
#include "peft/data/target.h"
#include "peft/text/tokenizer.h"

namespace peft {

struct TaskSpec {
  /// The benchmark's dump: its folder and, for tsv and csv, the columns in their order and how labels are spelled there (id order). A dump
  /// without columns is JSON Lines with the names of the fields below, once `flatten` has made flat rows of its records.
  struct Dump {
    std::string folder = {};
    std::vector<std::string> other_folders = {};
    std::vector<std::string> train_columns = {};  ///< of train and dev
    std::vector<std::string> dev_columns = {};    ///< where they are others
    std::vector<std::string> test_columns = {};
    bool csv = false;                     ///< the columns are those of csv files, with quotes
    bool headerless = false;              ///< train and dev have no header line
    bool header_optional = false;         ///< with `headerless`: every file may have one all the same
    bool labelled_lines = false;          ///< .txt files hold lines `LABEL text`
    std::vector<std::string> texts = {};  ///< tsv columns of the fields, in order
    std::string label = {}, idx = "index";
    std::vector<std::string> spellings = {};   ///< empty: the label names
    std::map<std::string, int64_t> rows = {};  ///< split (with its part: dev_matched) -> official number of flat rows
    /// Split -> names without ending that its file may have besides the split's own.
    std::map<std::string, std::vector<std::string>> names = {};
    /// Makes flat rows of one JSON record; a flat one passes as it is. Throws BadRecord.
    void (*flatten)(const Json& record, FlatRows& out) = nullptr;
    bool tsv() const { return !(train_columns.empty() && test_columns.empty()) && !csv; }
    bool labelled_lines_in(const std::filesystem::path& file) const {
      return labelled_lines && file.extension() == ".txt";
    }
  };
  /// Dev and test consist of several files with metrics of their own: "matched", also spelled "m".
  struct Part {
    std::string name;
    std::vector<std::string> spellings = {};
  };
  /// How data.split_policy "dept" makes a test split with labels, which chooses nothing (docs/tasks.md#split-policies).
  enum class DeptRule {
    none,               ///< the papers do not say
    half_of_dev,        ///< dev and test are the halves of a permutation of the dev file
    thousand_of_train,  ///< dev is the first thousand of a permutation of train, which loses them
    as_given            ///< dev and test are splits of the files
  };
  struct Dept {
    DeptRule rule = DeptRule::none;
    std::string dev = "dev", test = "dev";  ///< splits of the files: dev with as_given, test with all but half_of_dev
    int64_t train_rows = 0;                 ///< of what is left of train, the first so many; 0: all
    std::vector<std::string> torn_metrics = {};       ///< without a value where the rows of a group are torn apart
    std::vector<std::string> reference_metrics = {};  ///< data.dept_metrics; with torn_metrics: of torn groups alone
  };
  /// One text, or a pair for the tokenizer's template. Fields of the record stand in braces: "{premise}{question}". "{{" is a brace. The
  /// last field may be optional, "{text_pair?}": without it the side is left out; or a list, "{choices*}": one sequence for each of
  /// its members.
  struct Sequence {
    std::string text;
    std::string text_pair = {};
  };
  Dump dump = {};
  std::vector<Part> parts = {};
  /// Columns that `derive` makes the fields of the sequences from. Without it the fields are columns themselves.
  std::vector<RecordInput> inputs = {};
  void (*derive)(const std::vector<RecordValue>& inputs, DerivedTexts& out) = nullptr;
  std::vector<Sequence> sequences = {};  ///< of an example
  Truncation truncation = Truncation::longest_first;
  /// Field -> the values it may have, each with what stands for it in the text.
  std::map<std::string, std::map<std::string, std::string>> wordings = {};
  std::string label = "label", idx = "idx", group = {};  ///< columns in csv and jsonl files; no group: none
  int64_t group_size = 1;                                ///< the group's number is that of its column divided by this
  std::vector<std::string> outer_idx = {};  ///< columns of the numbers of what holds an example, outermost first
  TargetKind target = TargetKind::class_id;
  std::string objective = "classification";  ///< of objectives/objective.h
  std::vector<std::string> labels = {};  ///< class id -> name; empty where there are no classes or data.labels decides
  std::map<std::string, std::string> synonyms = {};  ///< other spelling -> name of a class
  bool booleans = false;                             ///< the classes are False and True; JSON has true, false, 0, 1
  std::string no_gold = {};                          ///< label of rows that nobody agreed on: passed over
  std::vector<std::string> choices = {};             ///< how the number of a choice is spelled; empty: from 0
  bool torn_rows = false;        ///< rows of the train file may be broken: data.on_bad_row is skip there by default
  bool python_bytes = false;     ///< texts may stand in b'...' (data.paws_bytes)
  bool own_files = false;        ///< files of users: data.columns and data.labels apply
  bool may_lack_answer = false;  ///< of TargetKind::span: a prediction may be that the text holds no answer
  bool bounded = false;          ///< scores must lie in 0..5 and are stored as float32
  std::vector<std::string> metrics = {};  ///< the first selects the best checkpoint
  std::string trained_as = {};            ///< for a set without training rows: the task whose adapters answer it
  /// Class of such an adapter -> class of this task, where the adapter has more of them.
  std::map<std::string, std::string> merged_classes = {};
  std::vector<std::string> other_names = {};  ///< of the task
  Dept dept = {};

  bool has_classes() const {
    return target == TargetKind::class_id || target == TargetKind::classes || target == TargetKind::tags;
  }
  /// The classes are those of data.labels or of the train split.
  bool labels_from_files() const { return own_files && has_classes(); }
};

Registry<TaskSpec>& task_registry();

/// The task's full name: "rte" is "glue/rte", "copa" is "superglue/copa". Throws ConfigError on an unknown one.
std::string resolve_task_name(const std::string& name);
/// The full names of which `name` is the short one: two for "rte".
std::vector<std::string> task_candidates(const std::string& name);
/// Whether `name`, full or short, may mean the task with this full name.
bool names_task(const std::string& name, const std::string& full_name);

}  // namespace peft
