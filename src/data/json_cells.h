#pragma once
/// JSON objects as rows of cells.

#include <string_view>
#include <vector>

#include "peft/base/json.h"
#include "peft/data/record.h"
#include "peft/data/rows.h"

namespace peft {

/// A value as a cell that refers to it; nullptr: missing.
Cell cell_of(const Json* value);

/// Objects as rows, those of a nested record one after another.
class JsonRows {
 public:
  JsonRows(const RowFormat& format, const std::vector<Column>& columns, BadRows& bad)
      : columns_(columns), flatten_(format.flatten), bad_(bad) {}

  /// Takes an object that starts in `line` of the file. A bad one is reported (json, encoding, and what `flatten` finds) and is one row.
  void parse(std::string_view text, int64_t line);
  /// Takes a line that holds no object.
  void reject(std::string_view kind, int64_t line, std::string_view message);
  /// Fills the cells of the next row of the object last taken; false: it has no more. They are valid until the next call.
  bool next(Row& row);

  std::vector<std::string> names() const;  ///< keys of the current row
  int64_t rows() const { return rows_; }   ///< so far, bad ones included

 private:
  std::vector<Column> columns_;
  void (*flatten_)(const Json& record, FlatRows& out);
  BadRows& bad_;
  FlatRows flat_;
  std::size_t at_ = 0;  // the next of them
  int64_t line_ = 0, rows_ = 0;
};

}  // namespace peft
