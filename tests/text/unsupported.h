#pragma once
/// What is said of a section's unknown type: it names all that are registered.

#include <fmt/ranges.h>

#include <string>
#include <vector>

namespace peft::text {

inline std::string unsupported(const std::string& section, const std::vector<std::string>& known) {
  return fmt::format("t.json: {}: type \"Nothing\" is not supported (supported: {})", section, fmt::join(known, ", "));
}

}  // namespace peft::text
