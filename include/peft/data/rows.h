#pragma once
/// Rows of table-like files (tsv, csv, jsonl, parquet, arrow) as cells of the columns asked for; no text is copied unless quoting demands it.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "peft/data/bad_rows.h"
#include "peft/data/lines.h"
#include "peft/data/record.h"

namespace peft {

struct Cell {
  enum class Kind : uint8_t { missing, text, field, integer, real, boolean, null, array, object };
  Kind kind = Kind::missing;     ///< `field`: text of a file without types (tsv, csv); it may spell a number
  std::string_view text = {};    ///< of text and field; valid until the next row
  double number = 0;             ///< of integer, real and boolean
  int64_t integer = 0;           ///< of integer
  std::vector<Cell> items = {};  ///< of array
};

/// "a string", "a number", ... for messages.
std::string_view kind_name(Cell::Kind kind);

struct Row {
  int64_t line =
      0;  ///< where the row starts, 1-based; of parquet and arrow the row itself, all files of the split counted
  int64_t number = 0;       ///< 0-based row of the file, bad rows counted
  std::vector<Cell> cells;  ///< in the order of the columns asked for
};

struct Column {
  std::string name;      ///< empty: no such column, its cells are missing
  bool required = true;  ///< of a header; a JSON row may lack any key, its cell is then missing
  /// What follows is for files whose columns have types and nulls: parquet, arrow. A null is a bad row where the column is required, else
  /// a missing cell.
  std::vector<Cell::Kind> kinds = {};  ///< that the column may have; empty: any
  bool classes = false;                ///< integers that the file has names for are read as these names
};

/// lines: each is the cell of a column named text. conll: a word a line, columns named by their numbers. arrow: a stream, as save_to_disk of the datasets library writes it.
enum class FileFormat { glue_tsv, tsv, csv, conll, jsonl, json, lines, parquet, arrow };

/// Whether a file consists of lines of text; parquet and arrow do not.
inline bool is_text(FileFormat format) { return format != FileFormat::parquet && format != FileFormat::arrow; }

struct RowFormat {
  FileFormat file = FileFormat::tsv;
  char delimiter = '\t';
  bool quoting = false;                 ///< RFC 4180 quotes; otherwise `"` is a character
  std::vector<std::string> headerless;  ///< names of the columns of a file without header; empty: line 1 is the header
  bool header_allowed = false;  ///< with `headerless`: a first line with a wanted column's name is a header after all
  std::vector<std::string> expected;  ///< columns to name in header errors; empty: the required ones
  std::size_t fields = 0;  ///< without quoting: the last of so many fields is the rest of its line; 0: any number
  void (*flatten)(const Json& record, FlatRows& out) = nullptr;  ///< of JSON records (TaskSpec::Dump)
  int64_t max_line_bytes = default_max_line_bytes;               ///< of parquet and arrow: bytes of a row's texts
  std::vector<std::filesystem::path> more_files = {};            ///< parquet, arrow: the rows go on in these
};

class RowReader {
 public:
  virtual ~RowReader() = default;
  /// Next good row; bad ones go to the reader's BadRows and are passed over. False at the end of the file.
  virtual bool next(Row& row) = 0;
  virtual std::vector<std::string> names() const = 0;  ///< columns of the file, or keys of the current object
  virtual int64_t rows() const = 0;                    ///< so far, bad ones included
  virtual std::string content_hash() const = 0;        ///< at the end of the file
  /// What the file itself calls the classes of the column with `classes`, in the order of its numbers; empty: it does not say.
  virtual std::vector<std::string> class_names() const { return {}; }
  virtual bool has_header() const { return true; }  ///< or keys in every row
};

/// Opens a file, or kStandardInput (not as one JSON array), and checks its header. Throws DataError (missing file, wrong header, types of another kind); `bad` must outlive the reader.
std::unique_ptr<RowReader> open_rows(const std::filesystem::path& path, const RowFormat& format,
                                     const std::vector<Column>& columns, BadRows& bad);

}  // namespace peft
