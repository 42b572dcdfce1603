#include "peft/data/bad_rows.h"

#include <algorithm>
#include <iterator>

#include "peft/base/error.h"
#include "peft/base/log.h"

namespace peft {
namespace {

constexpr int64_t examples_per_kind = 5;

std::string list_counts(const std::map<std::string, int64_t>& counts) {
  std::string list;
  for (const auto& [kind, count] : counts) list += fmt::format("{}{} {}", list.empty() ? "" : ", ", kind, count);
  return list;
}

}  // namespace

void BadRows::begin_file(std::string file, int64_t line) { files_.push_back({std::move(file), line}); }

const BadRows::File& BadRows::file_of(int64_t line) const {
  const auto behind =
      std::upper_bound(files_.begin(), files_.end(), line, [](int64_t l, const File& file) { return l < file.first; });
  return behind == files_.begin() ? files_.front() : *std::prev(behind);
}

std::string BadRows::at(int64_t line) const {
  if (files_.empty()) return fmt::format("{}:{}:", file_, line);
  const File& file = file_of(line);
  return fmt::format("{}: row {},", file.name, line - file.first + 1);
}

std::string BadRows::also_at(int64_t line) const {
  if (files_.empty()) return fmt::format("line {}", line);
  const File& file = file_of(line);
  return fmt::format("row {}{}", line - file.first + 1, files_.size() > 1 ? " of " + file.name : "");
}

void BadRows::report(std::string_view kind, int64_t line, std::string_view message) {
  if (!policy_.skip) throw_error<DataError>("{} {}", at(line), message);
  const int64_t count = ++counts_[std::string(kind)];
  if (!policy_.quiet && count <= examples_per_kind) log_warning("{} {} (row skipped)", at(line), message);
}

void BadRows::doubt(int64_t line, std::string_view message) {
  if (!policy_.quiet && !doubted_) log_warning("{} {}", at(line), message);
  doubted_ = true;
}

std::map<std::string, int64_t> BadRows::skipped() const {
  std::map<std::string, int64_t> all = counts_;
  for (const auto& [kind, count] : passed_) all[kind] += count;
  return all;
}

void BadRows::finish(int64_t rows) const {
  if (!passed_.empty() && !policy_.quiet) log_info("{}: of {} rows passed over: {}", file_, rows, list_counts(passed_));
  int64_t bad = 0;
  for (const auto& [kind, count] : counts_) bad += count;
  if (bad == 0) return;
  if (double(bad) > policy_.max_bad_fraction * double(rows))
    throw_error<DataError>("{}: {} of {} rows are bad ({}), more than data.max_bad_fraction {}", file_, bad, rows,
                           list_counts(counts_), policy_.max_bad_fraction);
  if (!policy_.quiet) log_warning("{}: {} of {} rows skipped ({})", file_, bad, rows, list_counts(counts_));
}

}  // namespace peft
