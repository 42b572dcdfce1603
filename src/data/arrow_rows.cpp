#include <arrow/record_batch.h>
#include <arrow/type.h>
#include <arrow/util/key_value_metadata.h>

#include <algorithm>

#include "arrow_cells.h"
#include "hf_features.h"
#include "peft/base/error.h"
#include "peft/base/files.h"
#include "peft/base/hash.h"
#include "peft/base/json.h"
#include "row_readers.h"

namespace peft {
namespace {

constexpr const char* metadata_key = "huggingface";
constexpr std::size_t longest_type = 80;

std::string list_kinds(const std::vector<Cell::Kind>& kinds) {
  std::string list;
  for (std::size_t i = 0; i < kinds.size(); ++i)
    list += fmt::format("{}{}", i == 0 ? "" : i + 1 == kinds.size() ? " or " : ", ", kind_name(kinds[i]));
  return list;
}

// The classes that a column's integers stand for: of the file's own metadata, else of the folder that save_to_disk
// wrote.
std::vector<std::string> read_class_names(const std::filesystem::path& path, const arrow::Schema& schema,
                                          const std::string& column) {
  const auto& metadata = schema.metadata();
  if (const int at = metadata ? metadata->FindKey(metadata_key) : -1; at >= 0) {
    const std::string origin = fmt::format("{}: metadata {}", path.string(), metadata_key);
    try {
      const Json written = parse_json(metadata->value(at), origin);
      const auto info = written.is_object() ? written.find("info") : written.end();
      if (info == written.end() || !info->is_object() || !info->contains("features")) return {};
      return class_names_of(info->at("features"), column, origin);
    } catch (const std::invalid_argument& error) {
      throw DataError(error.what());
    }
  }
  const auto info = path.parent_path() / "dataset_info.json";
  if (!path_exists(info)) return {};
  const Json written = read_json_file<DataError>(info);
  if (!written.is_object() || !written.contains("features")) return {};
  return class_names_of(written.at("features"), column, info.string());
}

class ArrowReader final : public RowReader {
 public:
  ArrowReader(const std::filesystem::path& path, const RowFormat& format, const std::vector<Column>& columns,
              BadRows& bad)
      : format_(format), columns_(columns), bad_(bad) {
    files_.push_back(path);
    files_.insert(files_.end(), format.more_files.begin(), format.more_files.end());
    open_file();
  }

  bool next(Row& row) override {
    while (true) {
      while (!batch_ || at_ == batch_->num_rows())
        if (!next_batch()) return false;
      row.number = rows_++;
      row.line = rows_;
      if (fill(at_++, row)) return true;
    }
  }

  std::vector<std::string> names() const override { return column_names(reader_->schema()); }
  int64_t rows() const override { return rows_; }
  std::vector<std::string> class_names() const override { return class_names_; }

  std::string content_hash() const override {
    if (files_.size() == 1) return hash_file(files_.front());
    Hasher hasher;
    for (const auto& file : files_) hasher.add(hash_file(file));
    return hasher.hex();
  }

 private:
  const std::filesystem::path& file() const { return files_[current_]; }

  void open_file() {
    reader_ = format_.file == FileFormat::parquet ? open_parquet_batches(file()) : open_stream_batches(file());
    bad_.begin_file(file().string(), rows_ + 1);
    paths_.clear();
    std::vector<ColumnPath> present;
    for (const Column& column : columns_) {
      paths_.push_back(check_column(column));
      if (!paths_.back().empty()) present.push_back(paths_.back());
    }
    check_required();
    reader_->select(present);
  }

  /// Empty: it is not there.
  ColumnPath check_column(const Column& column) {
    if (column.name.empty()) return {};
    std::optional<ColumnPath> path;
    try {
      path = find_column(reader_->schema(), column.name);
    } catch (const std::invalid_argument& error) {
      throw_error<DataError>("{}: column {} {}", file().string(), column.name, error.what());
    }
    if (!path) return {};
    const auto type = type_at(reader_->schema(), *path);
    const auto kind = kind_of(*type);
    const bool fits = kind && (column.kinds.empty() || *kind == Cell::Kind::null ||
                               std::find(column.kinds.begin(), column.kinds.end(), *kind) != column.kinds.end());
    if (!fits)
      throw_error<DataError>("{}: column {}: {}, expected {}", file().string(), column.name,
                             shortened(type->ToString(), longest_type),
                             column.kinds.empty() ? "strings, numbers, booleans or lists" : list_kinds(column.kinds));
    if (column.classes) check_classes(column.name);
    return *path;
  }

  void check_classes(const std::string& column) {
    auto names = read_class_names(file(), reader_->schema(), column);
    if (current_ == 0) {
      class_names_ = std::move(names);
    } else if (names != class_names_) {
      throw_error<DataError>("{}: classes of column {}: {}; {} has {}", file().string(), column, join_names(names),
                             files_.front().string(), join_names(class_names_));
    }
  }

  void check_required() const {
    std::vector<std::string> expected;
    bool complete = true;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      if (columns_[i].name.empty() || !columns_[i].required) continue;
      expected.push_back(columns_[i].name);
      complete = complete && !paths_[i].empty();
    }
    if (!complete)
      throw_error<DataError>("{}: columns {}; expected {}", file().string(), join_names(names()), join_names(expected));
  }

  /// False at the end of the last file.
  bool next_batch() {
    at_ = 0;
    cells_.clear();
    batch_ = reader_->next();
    if (!batch_) {
      if (current_ + 1 == files_.size()) return false;
      ++current_;
      open_file();
      return true;
    }
    for (const ColumnPath& path : paths_)
      cells_.push_back(path.empty() ? std::nullopt : std::optional(CellColumn(*batch_, path)));
    return true;
  }

  /// False where the row is bad.
  bool fill(int64_t at, Row& row) {
    row.cells.resize(columns_.size());
    int64_t bytes = 0;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      const Column& column = columns_[i];
      Cell& cell = row.cells[i];
      cell = cells_[i] ? guarded(file().string(), [&] { return (*cells_[i])[at]; }) : Cell{};
      if (cell.kind == Cell::Kind::null) {
        if (column.required) return report("missing", row, fmt::format("column {}: null", column.name));
        cell = {};
      }
      if (!check_text(cell, column.name, row, bytes)) return false;
      if (column.classes) name_classes(cell);
    }
    if (bytes > format_.max_line_bytes)
      return report("long_line", row,
                    fmt::format("longer than {} bytes (data.max_line_bytes)", format_.max_line_bytes));
    return true;
  }

  bool report(std::string_view kind, const Row& row, std::string_view message) {
    bad_.report(kind, row.line, message);
    return false;
  }

  bool check_text(const Cell& cell, const std::string& column, const Row& row, int64_t& bytes) {
    if (cell.kind == Cell::Kind::text) {
      bytes += static_cast<int64_t>(cell.text.size());
      if (const auto why = encoding_problem(cell.text))
        return report("encoding", row, fmt::format("column {}: {}", column, *why));
    }
    for (std::size_t i = 0; i < cell.items.size(); ++i)
      if (!check_text(cell.items[i], fmt::format("{}[{}]", column, i), row, bytes)) return false;
    return true;
  }

  /// A number that the file has a name for becomes that name: the task may count its classes in another order.
  void name_classes(Cell& cell) const {
    if (cell.kind == Cell::Kind::integer && cell.integer >= 0 &&
        cell.integer < static_cast<int64_t>(class_names_.size()))
      cell = {Cell::Kind::text, class_names_[static_cast<std::size_t>(cell.integer)]};
    for (Cell& item : cell.items) name_classes(item);
  }

  RowFormat format_;
  std::vector<Column> columns_;
  BadRows& bad_;
  std::vector<std::filesystem::path> files_;
  std::size_t current_ = 0;
  std::unique_ptr<BatchReader> reader_;
  std::vector<ColumnPath> paths_;         // of the columns asked for; empty: not in this file
  std::vector<std::string> class_names_;  // of the column with classes
  std::shared_ptr<arrow::RecordBatch> batch_;
  std::vector<std::optional<CellColumn>> cells_;  // of the columns asked for
  int64_t at_ = 0, rows_ = 0;
};

}  // namespace

std::unique_ptr<RowReader> open_arrow(const std::filesystem::path& path, const RowFormat& format,
                                      const std::vector<Column>& columns, BadRows& bad) {
  return std::make_unique<ArrowReader>(path, format, columns, bad);
}

}  // namespace peft
