#pragma once
/// Decomposition (NFD, NFKD) as a stream of code points.

#include <algorithm>
#include <utility>
#include <vector>

#include "src/text/unicode.h"

namespace peft::text {

/// Decomposes what comes in and hands it to `put(point, source, first)` with every run of combining marks sorted by combining class. The
/// caller may pass starters by, if it calls flush() before them and at the end.
///
/// `source` says where a character stood. As in the reference, a sorted run takes the sources of its characters in their old order;
/// the further parts of a decomposition have the source of what is written before them. `first`: it is the first part of its decomposition.
template <class Put>
class CanonicalOrder {
 public:
  explicit CanonicalOrder(Put put) : put_(std::move(put)) {}

  void add_decomposed(char32_t point, uint32_t source, Form form = Form::canonical) {
    const Decomposition parts = decompose(point, form);
    for (int k = 0; k < parts.count; ++k) {
      const char32_t part = parts.points[static_cast<std::size_t>(k)];
      if (const int order = combining_class(part)) {
        marks_.push_back({order, k == 0, part});
        if (k == 0) sources_.push_back(source);
      } else {
        flush();
        if (k == 0) last_ = source;
        put_(part, last_, k == 0);
      }
    }
  }

  void flush() {
    if (marks_.empty()) return;
    std::stable_sort(marks_.begin(), marks_.end(), [](const Mark& a, const Mark& b) { return a.order < b.order; });
    std::size_t next = 0;
    for (const Mark& mark : marks_) {
      if (mark.first) last_ = sources_[next++];
      put_(mark.point, last_, mark.first);
    }
    marks_.clear();
    sources_.clear();
  }

 private:
  struct Mark {
    int order;
    bool first;  ///< of its decomposition
    char32_t point;
  };

  Put put_;
  std::vector<Mark> marks_;
  std::vector<uint32_t> sources_;  ///< of the first parts among marks_
  uint32_t last_ = 0;
};

}  // namespace peft::text
