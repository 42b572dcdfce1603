#include "peft/methods/config.h"

#include <fmt/ranges.h>

#include "peft/base/error.h"
#include "peft/methods/method.h"

namespace peft {

void check_switch(const char* key, const Json& value) {
  if (!value.is_boolean() && value != "auto")
    throw_error<ConfigError>("method.{}: found {}, expected \"auto\", true or false", key, value.dump());
}

void MethodConfig::visit(Fields& fields) {
  fields.field("type", type, {.help = "the method", .choices = methods().names(), .required = true});
  fields.field(
      "compat", compat,
      {.help = "what switches start from where a paper and its released code differ", .choices = {"paper", "code"}});
  fields.field(
      "modules_to_save", modules_to_save,
      {.help = "modules of the head that train and are stored with the adapter beside the architecture's own; null: "
               "those alone, []: none; classifier and score are names for those, as in peft"});
  fields.field("init_from", init_from,
               {.help = "run or adapter folder whose values training starts from; shapes must match", .per_job = true});
  fields.field("init_head", init_head, {.help = "with init_from: take the trained head too", .per_job = true});
}

void MethodConfig::validate() const {
  const bool names = modules_to_save.is_array() && std::all_of(modules_to_save.begin(), modules_to_save.end(),
                                                               [](const Json& n) { return n.is_string(); });
  if (!modules_to_save.is_null() && !names) {
    throw_error<ConfigError>("method.modules_to_save: found {}, expected a list of names", modules_to_save.dump());
  }
}

namespace {

/// Before a type is chosen: the common keys.
struct Unchosen : MethodConfig {
  std::unique_ptr<MethodConfig> clone() const override { return std::make_unique<Unchosen>(*this); }
};

}  // namespace

MethodSection::MethodSection() : config_(std::make_unique<Unchosen>()) {}

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
  if (fields.current() != nullptr) config_->resolve();
}

}  // namespace peft
