// parse_json against the library's own parser: we refuse more (duplicate keys, depth, block comments), never accept
// more, and what we accept reads the same and survives writing.

#include <cstdint>
#include <cstdlib>
#include <stdexcept>

#include "peft/base/json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  for (const auto comments : {peft::JsonComments::refuse, peft::JsonComments::allow}) {
    try {
      const peft::Json ours = peft::parse_json(text, "fuzz", comments);
      // Inside a comment we take any byte, the library takes NUL for the end of the text.
      if (text.find('\0') == std::string::npos) {
        const auto theirs = peft::Json::parse(text, nullptr, false, comments == peft::JsonComments::allow);
        if (theirs.is_discarded() || theirs != ours) std::abort();
      }
      if (peft::parse_json(peft::to_pretty_string(ours), "fuzz") != ours) std::abort();
    } catch (const std::invalid_argument&) {
    }
  }
  return 0;
}
