#pragma once
/// Values of Arrow arrays as cells.

#include <arrow/type_fwd.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "arrow_batches.h"
#include "peft/data/rows.h"

namespace peft {

/// Where a column, or a nested one written `a.b`, stands in a schema; nothing where it is not there. Throws std::invalid_argument
/// where the name occurs several times.
std::optional<ColumnPath> find_column(const arrow::Schema& schema, std::string_view name);

/// Names that find_column() finds: a.b for what lies in a struct.
std::vector<std::string> column_names(const arrow::Schema& schema);

/// The type at a path that find_column() gave.
std::shared_ptr<arrow::DataType> type_at(const arrow::Schema& schema, const ColumnPath& path);

/// What the cells of a column of this type are (`null`: of a column that holds nothing else); nothing for types that are no cells, such as
/// time stamps.
std::optional<Cell::Kind> kind_of(const arrow::DataType& type);

/// One column of a batch.
class CellColumn {
 public:
  CellColumn(const arrow::RecordBatch& batch, const ColumnPath& path);
  /// Of a row of the batch. Its text lies in the batch. Throws std::out_of_range where the array refers to bytes or values that it
  /// does not hold.
  Cell operator[](int64_t row) const;

 private:
  std::vector<std::shared_ptr<arrow::Array>> nested_;  ///< outermost first; all but the last are structs
};

}  // namespace peft
