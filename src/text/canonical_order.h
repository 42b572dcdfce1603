#pragma once
/// Canonical decomposition (NFD) as a stream of code points.

#include <algorithm>
#include <utility>
#include <vector>

#include "src/text/unicode.h"

namespace peft::text {

/// Decomposes what comes in and hands it to `put` with every run of combining marks sorted by combining class. The caller may pass
/// starters by, if it calls flush() before them and at the end.
template <class Put>
class CanonicalOrder {
 public:
  explicit CanonicalOrder(Put put) : put_(std::move(put)) {}

  void add_decomposed(char32_t point) {
    const Decomposition parts = decompose(point);
    for (int k = 0; k < parts.count; ++k) {
      const char32_t part = parts.points[static_cast<std::size_t>(k)];
      if (const int order = combining_class(part)) {
        marks_.emplace_back(order, part);
      } else {
        flush();
        put_(part);
      }
    }
  }

  void flush() {
    if (marks_.empty()) return;
    std::stable_sort(marks_.begin(), marks_.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    for (const auto& [order, mark] : marks_) put_(mark);
    marks_.clear();
  }

 private:
  Put put_;
  std::vector<std::pair<int, char32_t>> marks_;
};

}  // namespace peft::text
