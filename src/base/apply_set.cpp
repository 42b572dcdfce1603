#include <stdexcept>
#include <string>
#include <string_view>

#include "peft/base/error.h"
#include "peft/base/fields.h"
#include "src/base/field_text.h"

namespace peft {
namespace {

Json value_of(const std::string& text) {
  try {
    return parse_json(text, "--set");
  } catch (const std::invalid_argument&) {
    return text;
  }
}

}  // namespace

void apply_set(Json& config, std::string_view assignment) {
  const auto equals = assignment.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    throw_error<ConfigError>("--set {}: expected key.path=value", assignment);
  }
  const std::string_view path = assignment.substr(0, equals);
  const std::string value(assignment.substr(equals + 1));

  if (config.is_null()) config = Json::object();
  Json* section = &config;
  for (std::size_t start = 0;;) {
    const auto end = std::min(path.find('.', start), path.size());
    const std::string key(path.substr(start, end - start));
    if (key.empty()) throw_error<ConfigError>("--set {}: empty key in the path \"{}\"", assignment, path);
    if (!section->is_object()) {
      const std::string_view reached = start == 0 ? std::string_view("the config") : path.substr(0, start - 1);
      throw_error<ConfigError>("--set {}: {} is {}, not a section", assignment, reached, short_json(*section));
    }
    if (end == path.size()) {
      (*section)[key] = value_of(value);
      return;
    }
    section = &section->emplace(key, Json::object()).first.value();
    start = end + 1;
  }
}

}  // namespace peft
