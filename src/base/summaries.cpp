#include "peft/base/summaries.h"

namespace peft {

Registry<Summary>& summaries(const std::string& kind) {
  static std::map<std::string, Registry<Summary>> kinds;
  return kinds.try_emplace(kind, kind).first->second;
}

}  // namespace peft
