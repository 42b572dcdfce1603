#pragma once
/// What happens to a bad row (docs/tasks.md#bad-input): the end of the program, or a counted skip with a few examples.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace peft {

/// Bad rows of one split. Its rows lie in lines of one file, or are counted over several files.
class BadRows {
 public:
  struct Policy {
    bool skip = false;               ///< false: the first bad row is an error
    double max_bad_fraction = 0.01;  ///< of a file; above it skipping is an error too
    bool quiet = false;              ///< no messages: the file is read a second time
  };
  BadRows(std::string file, Policy policy) : file_(std::move(file)), policy_(policy) {}

  /// The row with this line number is the first of `file`, whose rows have no lines; files in order.
  void begin_file(std::string file, int64_t line);

  /// Where a row stands, as messages about it begin: `FILE:LINE:`, or `FILE: row N,`.
  std::string at(int64_t line) const;
  /// The same, for another row that a message mentions: `line LINE`, or `row N`.
  std::string also_at(int64_t line) const;

  /// Throws DataError `FILE:LINE: message`, or counts the row under `kind` and prints the first five of a kind.
  void report(std::string_view kind, int64_t line, std::string_view message);

  /// A doubt about a row that is good by the rules; only the first of a file is told.
  void doubt(int64_t line, std::string_view message);

  /// A row that is to be left out and is not bad: it counts as skipped, whatever the policy.
  void pass_over(std::string_view kind) { ++passed_[std::string(kind)]; }

  /// What is odd about a row and accepted.
  void count(std::string_view kind, int64_t times = 1) { odd_[std::string(kind)] += times; }

  /// At the end of the file, with the number of its rows, bad ones included. Throws DataError when too many are bad.
  void finish(int64_t rows) const;

  std::map<std::string, int64_t> skipped() const;  ///< kind -> rows: bad ones, and those passed over
  const std::map<std::string, int64_t>& odd() const { return odd_; }
  const std::string& file() const { return file_; }

 private:
  struct File {
    std::string name;
    int64_t first = 1;  ///< line number of its first row
  };
  const File& file_of(int64_t line) const;

  std::string file_;
  Policy policy_;
  std::map<std::string, int64_t> counts_, passed_, odd_;
  std::vector<File> files_;  ///< without lines; empty: the rows lie in lines of file_
  bool doubted_ = false;
};

}  // namespace peft
