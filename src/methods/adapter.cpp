#include "peft/methods/adapter.h"

namespace peft {

void add_custom_keys(Json& config, const Json& keys) {
  const auto type = config.at("peft_type").get<std::string>();
  if (!type.starts_with(kCustomPrefix)) config["peft_type"] = kCustomPrefix + type;
  config.update({{"library", "peft.cpp"}, {"format_version", 1}});
  config.update(keys);
}

bool AdapterFiles::has_type(const std::string& type) const {
  const auto found = config.find("peft_type");
  return found != config.end() && (*found == type || *found == kCustomPrefix + type);
}

}  // namespace peft
