#pragma once
/// The kinds of one section of tokenizer.json ("normalizer", "decoder", ...), by the name in its key "type".

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "peft/base/registry.h"
#include "src/text/json_section.h"

namespace peft::text {

/// The entry that `section` names. Throws DataError that lists the known names.
template <class Entry>
const Entry& find_section(const Registry<Entry>& known, const JsonSection& section) {
  const std::string& type = section.at("type").string();
  if (const Entry* entry = known.find(type)) return *entry;
  section.fail(fmt::format("type \"{}\" is not supported (supported: {})", type, fmt::join(known.names(), ", ")));
}

/// Pattern of Replace and Split: {"String": "..."}. Regular expressions are refused.
inline const std::string& read_pattern(const JsonSection& section) {
  if (section.has("Regex")) section.at("Regex").fail("regular expressions are not supported, expected a String");
  return section.at("String").string();
}

}  // namespace peft::text
