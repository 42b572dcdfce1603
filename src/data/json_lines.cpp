#include "json_cells.h"
#include "peft/base/error.h"
#include "row_readers.h"

namespace peft {
namespace {

class JsonLinesReader final : public RowReader {
 public:
  JsonLinesReader(const std::filesystem::path& path, const RowFormat& format, const std::vector<Column>& columns,
                  BadRows& bad)
      : lines_(path, format.max_line_bytes), max_bytes_(format.max_line_bytes), objects_(format, columns, bad) {}

  bool next(Row& row) override {
    while (true) {
      if (objects_.next(row)) return true;
      if (!lines_.next()) return false;
      if (lines_.too_long()) {
        objects_.reject("long_line", lines_.line(),
                        fmt::format("longer than {} bytes (data.max_line_bytes)", max_bytes_));
      } else if (!lines_.text().empty()) {
        objects_.parse(lines_.text(), lines_.line());
      } else if (!lines_.at_end()) {
        objects_.reject("empty_line", lines_.line(), "empty line");
      }
    }
  }

  std::vector<std::string> names() const override { return objects_.names(); }
  int64_t rows() const override { return objects_.rows(); }
  std::string content_hash() const override { return lines_.content_hash(); }

 private:
  LineReader lines_;
  int64_t max_bytes_;
  JsonRows objects_;
};

}  // namespace

std::unique_ptr<RowReader> open_json_lines(const std::filesystem::path& path, const RowFormat& format,
                                           const std::vector<Column>& columns, BadRows& bad) {
  return std::make_unique<JsonLinesReader>(path, format, columns, bad);
}

}  // namespace peft
