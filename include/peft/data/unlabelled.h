#pragma once
/// Rows without labels: what a task reads of them, and the ids of its sequences. A label column is passed over.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "peft/data/config.h"
#include "peft/data/encoded_split.h"
#include "peft/data/rows.h"
#include "peft/data/task.h"
#include "peft/text/tokenizer.h"

namespace peft {

class TaskFields;
struct RecordTexts;
struct InputCell;

/// The texts of one task in the rows of one file.
///
/// A text may stand in several columns, and the first one present counts: the column that data.columns names, the task's own name of the
/// text (docs/tasks.md#tasks-of-glue), and `text` and `text_pair` for tasks of one or two texts.
class TaskTexts {
 public:
  TaskTexts(const TaskSpec& spec, const ColumnsConfig& columns);
  ~TaskTexts();
  TaskTexts(TaskTexts&&) noexcept;

  /// Every column that a text may stand in; none of them is required of a header.
  std::vector<std::string> columns() const;
  /// Whether one text is enough, as plain lines have it.
  bool one_text() const;
  /// "text (or review), text_pair", the texts that a row must have, for messages.
  std::string wanted() const;

  /// Where the columns stand in the cells of a row: the columns that open_rows() was given.
  void bind(const std::vector<Column>& opened);
  /// The texts that must be in every row have a column among these, the names of a header.
  bool found_in(const std::vector<std::string>& names) const;
  /// Appends the sequences of a row to `split`, as an example with a hidden target. False where a text was cut at `max_length`. Throws
  /// DataError `FILE:LINE: ...`: a text that is missing or none, or a sequence without tokens.
  /// `lengths`: max_length and doc_stride.
  bool encode(const Row& row, const RowReader& rows, const BadRows& bad, const Tokenizer& tokenizer,
              const TaskConfig& lengths, EncodedSplit& split) const;

 private:
  struct Field {
    std::vector<std::string> columns;  ///< that may hold it
    std::vector<std::size_t> cells;    ///< where they stand in a row
    bool required = true;
  };
  /// Appends the sequences; how many tokens were cut off.
  int64_t encode_sequences(const RecordTexts& record, const Tokenizer& tokenizer, const TaskConfig& lengths,
                           EncodedSplit& split) const;
  InputCell find_cell(const Field& field, const Row& row, const RowReader& rows) const;

  const TaskSpec& spec_;
  std::unique_ptr<const TaskFields> task_fields_;
  std::vector<Field> fields_;
};

}  // namespace peft
