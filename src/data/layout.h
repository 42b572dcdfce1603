#pragma once
/// Which columns of a file hold what, by its shape and the task.

#include <vector>

#include "peft/data/examples.h"
#include "peft/data/rows.h"
#include "task_fields.h"

namespace peft {

/// A column's name is empty where the task has no such column.
struct Layout {
  std::vector<Column> texts = {};  ///< of the task's inputs
  Column label = {}, idx = {"", false}, group = {"", false};
  std::vector<Column> outer_idx = {};
  RowFormat format = {};
  std::vector<Column> columns() const;  ///< texts, label, idx, group, outer_idx
};

Layout layout_of(const ExampleSource& source, const TaskFields& fields);

/// The name that data.columns gives a field of the user's files, if any.
const std::optional<std::string>* column_setting(const ColumnsConfig& columns, std::string_view field);

}  // namespace peft
