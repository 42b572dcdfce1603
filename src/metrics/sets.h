#pragma once
/// Metrics of sets of classes whose name another file registers too.

#include "peft/metrics/metric.h"

namespace peft {

/// Mean over all classes of the task of the F1 of "the set holds this class"; a class that occurs nowhere counts 0.
Evaluate macro_f1_of_sets(const Scored& scored);

}  // namespace peft
