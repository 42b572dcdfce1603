#pragma once
/// Record batches of one Parquet or Arrow file. This and arrow_cells.h are the only headers that name Arrow's types.

#include <arrow/result.h>
#include <arrow/status.h>
#include <arrow/type_fwd.h>

#include <exception>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "peft/base/error.h"

namespace peft {

/// Names from an outermost column to a field inside it; most columns have one name.
using ColumnPath = std::vector<std::string>;

class BatchReader {
 public:
  virtual ~BatchReader() = default;
  virtual const arrow::Schema& schema() const = 0;
  /// To be called once, before next(): the columns to be read. A struct then holds its fields asked for, at least.
  virtual void select(const std::vector<ColumnPath>& columns) = 0;
  /// Null at the end, when the whole file was seen: DataError where rows are missing or the file has changed meanwhile.
  virtual std::shared_ptr<arrow::RecordBatch> next() = 0;
};

/// Both throw DataError: no such file, another format, damage. Their memory is that of a batch, not of the file.
std::unique_ptr<BatchReader> open_parquet_batches(const std::filesystem::path& path);
/// The stream format, as save_to_disk writes it.
std::unique_ptr<BatchReader> open_stream_batches(const std::filesystem::path& path);

/// DataError `FILE: what Arrow says`, in one line.
[[noreturn]] void throw_arrow_error(const std::string& file, const arrow::Status& status);
[[noreturn]] void throw_arrow_error(const std::string& file, const std::exception& error);

inline void require(const std::string& file, const arrow::Status& status) {
  if (!status.ok()) throw_arrow_error(file, status);
}

template <class T>
T require(const std::string& file, arrow::Result<T> result) {
  if (!result.ok()) throw_arrow_error(file, result.status());
  return std::move(result).ValueUnsafe();
}

/// Runs code of Arrow's, which throws exceptions of its own for damaged files.
template <class Code>
auto guarded(const std::string& file, const Code& code) {
  try {
    return code();
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw_arrow_error(file, error);
  }
}

}  // namespace peft
