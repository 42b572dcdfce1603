#include "peft/methods/config.h"

#include <fmt/ranges.h>

#include "peft/base/error.h"
#include "peft/methods/method.h"

namespace peft {

void MethodConfig::visit(Fields& fields) {
  fields.field("type", type, {.help = "the method", .choices = methods().names(), .required = true});
  fields.field("init_from", init_from,
               {.help = "run or adapter folder whose values training starts from; shapes must match"});
  fields.field("init_head", init_head, {.help = "with init_from: take the trained head too"});
}

MethodSection::MethodSection() {
  const MethodEntry& probe = methods().at("linear_probe");
  config_ = probe.config();
  config_->type = "linear_probe";
}

MethodSection& MethodSection::operator=(const MethodSection& other) {
  config_ = other.config_->clone();
  return *this;
}

void MethodSection::visit(Fields& fields) {
  if (const Json* json = fields.current()) {  // parsing: the key `type` decides which struct the other keys fill
    const auto type = json->find("type");
    if (type == json->end()) {
      throw_error<ConfigError>("method.type: missing (known: {})", fmt::join(methods().names(), ", "));
    }
    if (type->is_string()) {
      const std::string name = type->get<std::string>();
      try {
        config_ = methods().at(name).config();
      } catch (const ConfigError& error) {
        throw_error<ConfigError>("method.type: {}", error.what());
      }
      config_->type = name;
    }
  }
  config_->visit(fields);
}

}  // namespace peft
