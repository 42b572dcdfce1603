#include "src/submission/index_check.h"

#include <fmt/format.h>

#include <algorithm>

namespace peft {

void IndexCheck::add(int64_t idx, int64_t line) {
  if (!std::binary_search(expected_.begin(), expected_.end(), idx)) {
    findings_.add("unknown", line,
                  fmt::format("{} {}; expected one of the {} of {}", noun_, idx, expected_.size(), source_));
  } else if (!seen_.empty() && idx < seen_.back().first) {
    findings_.add("order", line,
                  fmt::format("{} {} behind {}; expected ascending order", noun_, idx, seen_.back().first));
  }
  seen_.emplace_back(idx, line);
}

std::vector<int64_t> IndexCheck::missing() const {
  std::vector<int64_t> indices, out;
  for (const auto& entry : seen_) indices.push_back(entry.first);
  std::set_difference(expected_.begin(), expected_.end(), indices.begin(), indices.end(), std::back_inserter(out));
  return out;
}

void IndexCheck::finish(int64_t last_line) {
  std::sort(seen_.begin(), seen_.end());
  for (std::size_t i = 1; i < seen_.size(); ++i)
    if (seen_[i].first == seen_[i - 1].first)
      findings_.add(
          "twice", seen_[i].second,
          fmt::format("{} {} already stands in line {}; expected it once", noun_, seen_[i].first, seen_[i - 1].second));
  const std::vector<int64_t> absent = missing();
  std::string gap;
  int64_t line = last_line;
  if (absent.size() > unreadable_) {
    gap = fmt::format("{} {} is missing", noun_, absent.front());
    const auto behind =
        std::upper_bound(seen_.begin(), seen_.end(), std::pair<int64_t, int64_t>(absent.front(), INT64_MAX));
    if (behind != seen_.end()) line = behind->second;
    if (absent.size() > 1) gap += fmt::format(", and {} more", absent.size() - 1);
  }
  const std::size_t rows = seen_.size() + unreadable_;
  if (rows != expected_.size()) {
    findings_.add("rows", last_line,
                  fmt::format("{} rows; expected the {} of {}{}{}", rows, expected_.size(), source_,
                              gap.empty() ? "" : "; ", gap));
  } else if (!gap.empty()) {
    findings_.add("missing", line, fmt::format("{}; expected all of {}", gap, source_));
  }
}

}  // namespace peft
