#pragma once
/// One line about each registered name, for `peft-tool list`. The file that registers a method, task, metric or architecture adds its line.

#include <string>

#include "peft/base/registry.h"

namespace peft {

struct Summary {
  std::string text;
  std::string paper = {};  ///< arXiv numbers
};

/// Of one kind of name: "method", "task", "metric" or "architecture".
Registry<Summary>& summaries(const std::string& kind);

}  // namespace peft
