#pragma once
/// What one metric is, for the files that define metrics; users call compute_metric() of metrics.h.
///
/// A metric is split in two: `prepare` looks at the rows once, the function it returns scores any resample of them. A resample is
/// given as how often each row was drawn, so a bootstrap copies no rows and the plain score is the case "every row once".

#include <cstdint>
#include <functional>
#include <span>

#include "peft/base/registry.h"
#include "peft/metrics/metrics.h"

namespace peft {

/// Score of the resample that holds row i `times[i]` times.
using Evaluate = std::function<MetricValue(std::span<const uint32_t> times)>;

struct Metric {
  enum class Input { classes, numbers, texts, tags };
  Input input = Input::classes;                              ///< how predictions and references are read
  Evaluate (*prepare)(const Scored& scored) = nullptr;       ///< of classes, numbers, texts or tags; nullptr: sets only
  Evaluate (*prepare_sets)(const Scored& scored) = nullptr;  ///< of sets of classes; nullptr: none
  enum class Groups { none, optional, required };
  Groups groups = Groups::none;  ///< not none: where Scored::groups is given, the bootstrap draws whole groups
  bool ordered = false;          ///< the class ids themselves matter (which one is positive), not only their equality
  bool all_classes = false;      ///< Scored::num_classes has to be given
  bool lower_is_better = false;
  /// Of texts and tags: which rows are right, one by one; nullptr: none is. Single classes and sets are right where they equal the reference.
  std::vector<bool> (*right)(const Scored& scored) = nullptr;
  /// Of texts: why this reference cannot be scored, or nullptr; nullptr itself: every reference can.
  const char* (*problem)(const std::string& reference) = nullptr;
  /// Of these rows.
  Evaluate prepared(const Scored& scored) const { return (scored.sets() ? prepare_sets : prepare)(scored); }
};

/// A file of src/metrics/ adds its metrics with one static object.
Registry<Metric>& metric_registry();

}  // namespace peft
