#pragma once
/// Checks shared by the plain score and the bootstrap.

#include <string>

#include "peft/metrics/metric.h"

namespace peft {

/// Throws ConfigError or DataError when the rows cannot be scored with this metric.
void check_scored(const std::string& name, const Metric& metric, const Scored& scored);

}  // namespace peft
