#pragma once
/// The input of peft-predict, a chunk of rows at a time.

#include <string>
#include <vector>

#include "peft/data/rows.h"
#include "src/apps/predict_adapters.h"

namespace peft {

class PredictInput {
 public:
  /// `format`: of the file, with its delimiter. Throws DataError where the header lacks a text, ConfigError where plain lines are not
  /// enough for a task.
  PredictInput(const std::string& file, const RowFormat& format, std::vector<Reading>& readings);

  /// The next rows, at most `count`: their ids as JSON, and their texts in the splits of the readings. False when there are none.
  /// Throws DataError `FILE:LINE: ...` at a bad row, and when the file has no row at all.
  bool next(int64_t count, std::vector<std::string>& ids);
  int64_t rows() const { return rows_->rows(); }  ///< up to here

 private:
  void check_columns(FileFormat format) const;
  std::string id_of(const Row& row) const;

  std::string file_;
  std::vector<Reading>& readings_;
  std::vector<Column> columns_;
  BadRows bad_;
  std::unique_ptr<RowReader> rows_;
  bool ended_ = false;
};

/// Lines of a file, for a progress line; 0 for what is no file.
int64_t count_lines(const std::string& file);

}  // namespace peft
