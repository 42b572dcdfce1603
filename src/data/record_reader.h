#pragma once
/// Records of a delimited file: one line each, or with quoting (RFC 4180) as many lines as the quotes span.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "peft/data/lines.h"

namespace peft {

class RecordReader {
 public:
  /// `most`: without quoting, the last of so many fields is the rest of its line; 0: any number.
  RecordReader(const std::filesystem::path& path, char delimiter, bool quoting, std::size_t most, int64_t max_bytes)
      : lines_(path, max_bytes),
        delimiter_(delimiter),
        quoting_(quoting),
        most_(most),
        max_bytes_(static_cast<std::size_t>(max_bytes)) {}

  /// Goes to the next record; false at the end. One empty line at the very end of the file is no record. Throws DataError when a
  /// quote is never closed.
  bool next();

  int64_t line() const { return line_; }                                   ///< where the record starts
  const std::vector<std::string_view>& fields() const { return fields_; }  ///< valid until next()
  const std::string& problem_kind() const { return problem_kind_; }        ///< empty: a good record
  const std::string& problem() const { return problem_; }
  int64_t problem_line() const { return problem_line_; }
  const LineReader& lines() const { return lines_; }

 private:
  void split_plain(std::string_view text);
  void read_quoted();     // from the current line on, as many as the quotes span
  void limit_unquoted();  // a record longer than a line may be has a problem and is no longer held
  bool check_line();      // false: too long or no text; the record then has a problem
  void set_problem(std::string_view kind, std::string message);

  LineReader lines_;
  char delimiter_;
  bool quoting_;
  std::size_t most_, max_bytes_;
  int64_t line_ = 0;
  std::vector<std::string_view> fields_;
  std::string unquoted_;           // the fields of a record with quotes, end to end
  std::vector<std::size_t> ends_;  // of each field in unquoted_
  std::string problem_kind_, problem_;
  int64_t problem_line_ = 0;
};

}  // namespace peft
