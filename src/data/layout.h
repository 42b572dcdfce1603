#pragma once
/// Which columns of a file hold what, by its shape and the task.

#include <vector>

#include "peft/data/examples.h"
#include "peft/data/rows.h"
#include "sequence_plan.h"

namespace peft {

/// A column's name is empty where the task has no such column.
struct Layout {
  std::vector<Column> texts = {};  ///< of the plan's fields
  Column label = {}, idx = {"", false}, group = {"", false};
  RowFormat format = {};
  std::vector<Column> columns() const;  ///< texts, label, idx, group
};

Layout layout_of(const ExampleSource& source, const SequencePlan& plan);

/// The name that data.columns gives a field of the user's files, if any.
const std::optional<std::string>* column_setting(const ColumnsConfig& columns, std::string_view field);

}  // namespace peft
