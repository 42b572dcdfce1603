#pragma once
/// Objects of a config whose members have an order that counts: of the patterns of peft's rank_pattern the first that matches wins.
///
/// A Json object is sorted by key and cannot hold that order. So parse_json() gives an object of such a key as a list of objects with one
/// member each, unless it is sorted anyway, and to_pretty_string() writes the list as an object again. Equal order is equal Json.

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "peft/base/json.h"

namespace peft {

/// Whether the object below a key is such a one: `itself` for rank_pattern and alpha_pattern, `elements` for a path that ends in one of
/// them, as a sweep has it above a list of values.
enum class KeptOrder { none, itself, elements };
KeptOrder kept_order(std::string_view key);

/// Members in their order; nothing when `value` has neither of the two forms, or a name twice.
std::optional<std::vector<std::pair<std::string, const Json*>>> ordered_members(const Json& value);

/// The form of an object with its keys in this order; `names` are those of `object`.
Json ordered_object(const std::vector<std::string>& names, Json object);

template <class T>
struct OrderedMap {
  std::vector<std::pair<std::string, T>> members;

  friend void to_json(Json& json, const OrderedMap& map) {
    std::vector<std::string> names;
    json = Json::object();
    for (const auto& [name, value] : map.members) {
      names.push_back(name);
      json[name] = value;
    }
    json = ordered_object(names, std::move(json));
  }
  friend void from_json(const Json& json, OrderedMap& map) {
    const auto found = ordered_members(json);
    if (!found) throw Json::type_error::create(302, "not an object", &json);
    map.members.clear();
    for (const auto& [name, value] : *found) map.members.emplace_back(name, value->template get<T>());
  }
};

}  // namespace peft
