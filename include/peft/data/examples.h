#pragma once
/// Records of a file as examples of its task: texts found by column, labels as targets, bad lines counted.

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "peft/data/bad_rows.h"
#include "peft/data/config.h"
#include "peft/data/rows.h"
#include "peft/data/split_files.h"
#include "peft/data/target.h"
#include "peft/data/task.h"

namespace peft {

struct Example {
  std::vector<std::string_view> texts;  ///< of the task's fields in order, the last any number of times; valid until
                                        ///< the next example
  Target target;
  std::optional<int64_t> group;    ///< for tasks with grouped metrics
  int64_t idx = 0;                 ///< of the idx column, else the number of the record
  std::vector<int64_t> outer_idx;  ///< numbers of what holds the example, where the task and the file have them
  std::vector<std::string_view> candidates;  ///< with TargetKind::choices: what each sequence stands for
  std::vector<std::string_view> references;  ///< with choices and span: the right answers
  std::span<const Span> words;               ///< with TargetKind::tags, of the text
  std::optional<Span> answer;                ///< with TargetKind::span, of the last text; none: it holds no answer
  std::string_view id;                       ///< empty: the file names its examples by numbers
  int64_t line = 0;
};

/// Where the examples of a split come from.
struct ExampleSource {
  const TaskSpec& spec;
  const DataConfig& data;
  std::string split;  ///< canonical: train, dev, test
  SplitFile file;
  std::vector<std::string> labels;  ///< class names in id order; empty where the task has no classes
  std::string part = {};            ///< of the split, where it has parts
};

class ExampleReader {
 public:
  /// Throws DataError as open_rows() does. `quiet`: a second reading of the same file, without messages.
  explicit ExampleReader(const ExampleSource& source, bool quiet = false);
  ~ExampleReader();

  /// Next good row; false at the end, when the whole file was checked: DataError when too many rows are bad, when none is left, when
  /// an idx occurs twice, or when only some labels of a test split are hidden.
  bool next(Example& example);

  /// For what only the encoder can see.
  void report(std::string_view kind, int64_t line, std::string_view message) { bad_.report(kind, line, message); }

  std::map<std::string, int64_t> skipped() const { return bad_.skipped(); }
  const std::map<std::string, int64_t>& odd() const { return bad_.odd(); }
  int64_t good() const { return good_; }
  int64_t rows() const { return rows_->rows(); }                   ///< bad ones included
  bool hidden() const { return good_ > 0 && first_hidden_ != 0; }  ///< at the end of the file
  std::string content_hash() const { return rows_->content_hash(); }

 private:
  class Parser;
  void check_class_names(const ExampleSource& source, bool quiet) const;
  void finish() const;
  void note_idx(const Example& example);
  void check_idx_unique() const;

  BadRows bad_;
  std::unique_ptr<RowReader> rows_;
  std::unique_ptr<Parser> parser_;
  Row row_;
  int64_t good_ = 0, first_hidden_ = 0, first_visible_ = 0;  // lines; 0: none
  struct IdxLine {
    std::array<int64_t, 3> idx;  // with what holds the example in front; 0 where there is none
    int64_t line;
  };
  std::vector<IdxLine> idx_lines_;  // where the file has an idx column
};

/// The classes of a file of the user: those that it names itself, as files of the datasets library do, else the labels that occur: sorted as numbers when all are whole numbers, else by bytes. Throws DataError naming
/// data.labels where -1 may be a class or a missing label (docs/tasks.md#your-own-files).
std::vector<std::string> infer_labels(const ExampleSource& train);

}  // namespace peft
