#include <charconv>

#include "peft/base/error.h"
#include "row_readers.h"

namespace peft {
namespace {

constexpr std::string_view document_start = "-DOCSTART-";

// A word a line, its columns separated by tabs or, in files without tabs, by spaces; an empty line ends a sentence. A
// column's name is its number from 0, or from -1 backwards: cells are the lists of a sentence's words.
class ConllReader final : public RowReader {
 public:
  ConllReader(const std::filesystem::path& path, const RowFormat& format, const std::vector<Column>& columns,
              BadRows& bad)
      : lines_(path, format.max_line_bytes), max_bytes_(format.max_line_bytes), columns_(columns), bad_(bad) {
    for (const Column& column : columns_) numbers_.push_back(number_of(column.name));
  }

  bool next(Row& row) override {
    while (read_sentence()) {
      row.number = rows_++;
      row.line = first_line_;
      if (!problem_kind_.empty()) {
        bad_.report(problem_kind_, problem_line_, problem_);
        continue;
      }
      row.cells.clear();
      for (const std::optional<int64_t>& number : numbers_) row.cells.push_back(cell(number));
      return true;
    }
    return false;
  }

  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (std::size_t i = 0; i < width_; ++i) names.push_back(std::to_string(i));
    return names;
  }
  int64_t rows() const override { return rows_; }
  std::string content_hash() const override { return lines_.content_hash(); }

 private:
  static std::optional<int64_t> number_of(const std::string& name) {
    int64_t number = 0;
    const auto [end, failed] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (name.empty() || failed != std::errc() || end != name.data() + name.size()) return std::nullopt;
    return number;
  }

  void set_problem(std::string_view kind, std::string message) {
    if (!problem_kind_.empty()) return;  // the first one is reported
    problem_kind_ = kind;
    problem_ = std::move(message);
    problem_line_ = lines_.line();
  }

  // Up to the next empty line, those in front passed over. False at the end of the file.
  bool read_sentence() {
    words_.clear();
    problem_kind_.clear();
    first_line_ = 0;
    width_ = 0;
    while (lines_.next()) {
      const std::string_view line = lines_.text();
      const bool blank = line.find_first_not_of(" \t") == std::string_view::npos && !lines_.too_long();
      if (blank && first_line_ != 0) return true;
      if (blank || line.starts_with(document_start) || is_comment(line)) continue;
      if (first_line_ == 0) first_line_ = lines_.line();
      take(line);
    }
    return first_line_ != 0;
  }

  // In front of a sentence. A file without tabs may have the word # there.
  bool is_comment(std::string_view line) const {
    return first_line_ == 0 && line.starts_with('#') && line.find('\t') == std::string_view::npos &&
           tabs_.value_or(true);
  }

  void take(std::string_view line) {
    if (lines_.too_long())
      return set_problem("long_line", fmt::format("longer than {} bytes (data.max_line_bytes)", max_bytes_));
    if (auto why = encoding_problem(line)) return set_problem("encoding", std::move(*why));
    if (!tabs_) tabs_ = line.find('\t') != std::string_view::npos;
    std::vector<std::string> fields;
    for (std::size_t at = 0; at <= line.size();) {
      const std::size_t end = std::min(line.find(*tabs_ ? '\t' : ' ', at), line.size());
      if (*tabs_ || end > at) fields.emplace_back(line.substr(at, end - at));
      at = end + 1;
    }
    if (words_.empty()) width_ = fields.size();
    if (fields.size() != width_)
      return set_problem("columns",
                         fmt::format("{} columns, expected {} as in the sentence's first line", fields.size(), width_));
    words_.push_back(std::move(fields));
  }

  // Missing where the sentence has no such column, or where it is the column of the words, which stand first.
  Cell cell(const std::optional<int64_t>& number) const {
    const auto width = static_cast<int64_t>(width_);
    if (!number || *number >= width || *number < -width) return {};
    const auto at = static_cast<std::size_t>(*number < 0 ? *number + width : *number);
    if (*number < 0 && width == 1) return {};
    Cell list{.kind = Cell::Kind::array};
    for (const auto& fields : words_) list.items.push_back({Cell::Kind::text, fields[at]});
    return list;
  }

  LineReader lines_;
  int64_t max_bytes_;
  std::vector<Column> columns_;
  std::vector<std::optional<int64_t>> numbers_;  // of the columns; none: no number
  BadRows& bad_;
  std::optional<bool> tabs_;                     // of the file, once a word was seen
  std::vector<std::vector<std::string>> words_;  // of the sentence, with their columns
  std::size_t width_ = 0;
  int64_t first_line_ = 0, rows_ = 0;
  std::string problem_kind_, problem_;
  int64_t problem_line_ = 0;
};

}  // namespace

std::unique_ptr<RowReader> open_conll(const std::filesystem::path& path, const RowFormat& format,
                                      const std::vector<Column>& columns, BadRows& bad) {
  return std::make_unique<ConllReader>(path, format, columns, bad);
}

}  // namespace peft
