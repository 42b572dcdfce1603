#include "peft/methods/adapter.h"

namespace peft {

const char* task_type_of(HeadKind kind) {
  return kind == HeadKind::token  ? kTokenClassification
         : kind == HeadKind::span ? kQuestionAnswering
                                  : kSequenceClassification;
}

std::optional<HeadKind> head_of_task_type(std::string_view task_type) {
  for (const HeadKind kind : {HeadKind::sequence, HeadKind::token, HeadKind::span})
    if (task_type == task_type_of(kind)) return kind;
  return std::nullopt;
}

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
