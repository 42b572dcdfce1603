#include <algorithm>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "peft/base/error.h"
#include "peft/base/fields.h"
#include "peft/base/ordered_map.h"
#include "src/base/field_text.h"

namespace peft {
namespace {

/// The value of `key`, which says whether the order of an object counts.
Json value_of(const std::string& text, const std::string& key) {
  try {
    Json value = parse_json(text, "--set");
    if (!value.is_object() || kept_order(key) == KeptOrder::none) return value;
    return parse_json("{" + Json(key).dump() + ":" + text + "}", "--set").at(key);
  } catch (const std::invalid_argument&) {
    return text;
  }
}

bool is_utf8(std::string_view text) {
  try {
    Json(text).dump();
    return true;
  } catch (const Json::type_error&) {
    return false;
  }
}

/// The keys of `a.b.c`; no key may be empty.
std::vector<std::string> keys_of(std::string_view path, std::string_view assignment) {
  std::vector<std::string> keys(1);
  for (const char c : path) {
    if (c == '.') {
      keys.emplace_back();
    } else {
      keys.back() += c;
    }
  }
  if (std::count(keys.begin(), keys.end(), "") > 0) {
    throw_error<ConfigError>("--set {}: empty key in the path \"{}\"", assignment, path);
  }
  return keys;
}

}  // namespace

void apply_set(Json& config, std::string_view assignment) {
  if (!is_utf8(assignment)) throw_error<ConfigError>("--set {}: not valid UTF-8", short_json(assignment));
  const auto equals = assignment.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    throw_error<ConfigError>("--set {}: expected key.path=value", assignment);
  }
  const std::vector<std::string> keys = keys_of(assignment.substr(0, equals), assignment);

  if (config.is_null()) config = Json::object();
  Json* value = &config;
  std::string reached;
  for (const std::string& key : keys) {
    if (value->is_null() && !reached.empty()) *value = Json::object();
    if (!value->is_object()) {
      throw_error<ConfigError>("--set {}: {} is {}, not a section", assignment,
                               reached.empty() ? "the config" : reached, short_json(*value));
    }
    value = &(*value)[key];
    reached = joined_path(reached, key);
  }
  *value = value_of(std::string(assignment.substr(equals + 1)), keys.back());
}

}  // namespace peft
