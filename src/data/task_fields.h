#pragma once
/// The cells of a record as the texts of its task's fields.

#include <string>
#include <string_view>
#include <vector>

#include "peft/data/rows.h"
#include "peft/data/task.h"
#include "sequence_plan.h"

namespace peft {

/// A cell, and the column it stood in.
struct InputCell {
  const Cell* cell = nullptr;
  std::string_view column = {};
};

/// Texts of one record; views into its cells and into `derived`.
struct RecordTexts {
  std::vector<std::string_view> texts = {};       ///< of the plan's fields in order, the last any number of times
  std::vector<std::string_view> candidates = {};  ///< of its sequences, for TargetKind::choices
  DerivedTexts derived = {};
  std::vector<RecordValue> values = {};
};

class TaskFields {
 public:
  /// `python_bytes`: texts stand in Python's b'...', which is taken off.
  explicit TaskFields(const TaskSpec& spec, bool python_bytes = false);

  const SequencePlan& plan() const { return plan_; }
  /// Columns that the task reads: those of its table, else the fields of its sequences.
  const std::vector<RecordInput>& inputs() const { return inputs_; }
  /// Whether every record has the column.
  static bool required(const RecordInput& input);
  /// From a cell for every input; one that may be absent is missing then. Throws BadRecord.
  void read(const std::vector<InputCell>& cells, RecordTexts& out) const;

 private:
  RecordValue value_of(const RecordInput& input, const InputCell& found) const;

  const TaskSpec& spec_;
  SequencePlan plan_;
  std::vector<RecordInput> inputs_;
  bool python_bytes_;
};

/// What Python's b'...' or b"..." stands for; another text as it is. Throws BadRecord where it is broken.
std::string without_python_bytes(std::string_view text);

/// A cell as a whole number; a field that is empty is none. Throws BadRecord `COLUMN is "x", expected an integerADVICE`.
int64_t integer_in(const InputCell& found, std::string_view advice = {});

}  // namespace peft
