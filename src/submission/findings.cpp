#include "src/submission/findings.h"

#include <fmt/format.h>

#include <algorithm>

namespace peft {

void Findings::add(std::string_view rule, int64_t line, std::string message) {
  const auto known = std::find_if(broken_.begin(), broken_.end(), [&](const Broken& b) { return b.rule == rule; });
  if (known == broken_.end()) {
    broken_.push_back({.rule = std::string(rule), .line = line, .message = std::move(message)});
  } else {
    ++known->times;
  }
}

std::vector<std::string> Findings::lines() const {
  std::vector<std::string> all;
  for (const Broken& broken : broken_) {
    std::string line = broken.line == 0 ? file_ : fmt::format("{}:{}", file_, broken.line);
    line += ": " + broken.message;
    if (broken.times > 1) line += fmt::format("; {} more like this", broken.times - 1);
    all.push_back(std::move(line));
  }
  return all;
}

}  // namespace peft
