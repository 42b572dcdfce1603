#include "peft/base/error.h"
#include "row_readers.h"

namespace peft {
namespace {

/// Every line is the text of a row.
class PlainLinesReader final : public RowReader {
 public:
  PlainLinesReader(const std::filesystem::path& path, const RowFormat& format, const std::vector<Column>& columns,
                   BadRows& bad)
      : lines_(path, format.max_line_bytes), max_bytes_(format.max_line_bytes), columns_(columns), bad_(bad) {}

  bool next(Row& row) override {
    while (lines_.next()) {
      const bool empty = lines_.text().empty() && !lines_.too_long();
      if (empty && lines_.at_end()) return false;
      row.number = rows_++;
      row.line = lines_.line();
      if (lines_.too_long()) {
        bad_.report("long_line", row.line, fmt::format("longer than {} bytes", max_bytes_));
      } else if (empty) {
        bad_.report("empty_line", row.line, "empty line, expected a text");
      } else if (const auto why = encoding_problem(lines_.text())) {
        bad_.report("encoding", row.line, *why);
      } else {
        row.cells.assign(columns_.size(), {});
        for (std::size_t i = 0; i < columns_.size(); ++i)
          if (columns_[i].name == kText) row.cells[i] = {Cell::Kind::text, lines_.text()};
        return true;
      }
    }
    return false;
  }

  std::vector<std::string> names() const override { return {kText}; }
  int64_t rows() const override { return rows_; }
  std::string content_hash() const override { return lines_.content_hash(); }

 private:
  static constexpr const char* kText = "text";
  LineReader lines_;
  int64_t max_bytes_;
  std::vector<Column> columns_;
  BadRows& bad_;
  int64_t rows_ = 0;
};

}  // namespace

std::unique_ptr<RowReader> open_plain_lines(const std::filesystem::path& path, const RowFormat& format,
                                            const std::vector<Column>& columns, BadRows& bad) {
  return std::make_unique<PlainLinesReader>(path, format, columns, bad);
}

}  // namespace peft
