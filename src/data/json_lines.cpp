#include "json_cells.h"
#include "peft/base/error.h"
#include "row_readers.h"

namespace peft {
namespace {

class JsonLinesReader final : public RowReader {
 public:
  JsonLinesReader(const std::filesystem::path& path, const RowFormat& format, const std::vector<Column>& columns,
                  BadRows& bad)
      : lines_(path, format.max_line_bytes), max_bytes_(format.max_line_bytes), columns_(columns), bad_(bad) {}

  bool next(Row& row) override {
    while (lines_.next()) {
      if (lines_.too_long()) {
        ++rows_;
        bad_.report("long_line", lines_.line(), fmt::format("longer than {} bytes (data.max_line_bytes)", max_bytes_));
        continue;
      }
      if (lines_.text().empty()) {
        if (lines_.at_end()) return false;
        ++rows_;
        bad_.report("empty_line", lines_.line(), "empty line");
        continue;
      }
      row.number = rows_++;
      if (parse_row(lines_.text(), lines_.line(), columns_, value_, row, bad_)) return true;
    }
    return false;
  }

  std::vector<std::string> names() const override { return key_names(value_); }
  int64_t rows() const override { return rows_; }
  std::string content_hash() const override { return lines_.content_hash(); }

 private:
  LineReader lines_;
  int64_t max_bytes_;
  std::vector<Column> columns_;
  BadRows& bad_;
  Json value_;  // of the current row; its cells refer to it
  int64_t rows_ = 0;
};

}  // namespace

std::unique_ptr<RowReader> open_json_lines(const std::filesystem::path& path, const RowFormat& format,
                                           const std::vector<Column>& columns, BadRows& bad) {
  return std::make_unique<JsonLinesReader>(path, format, columns, bad);
}

}  // namespace peft
