#include "peft/data/bad_rows.h"

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

void BadRows::report(std::string_view kind, int64_t line, std::string_view message) {
  if (!policy_.skip) throw_error<DataError>("{}:{}: {}", file_, line, message);
  const int64_t count = ++counts_[std::string(kind)];
  if (!policy_.quiet && count <= examples_per_kind) log_warning("{}:{}: {} (row skipped)", file_, line, message);
}

void BadRows::doubt(int64_t line, std::string_view message) {
  if (!policy_.quiet && !doubted_) log_warning("{}:{}: {}", file_, line, message);
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
