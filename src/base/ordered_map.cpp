#include "peft/base/ordered_map.h"

#include <algorithm>
#include <array>
#include <set>

namespace peft {
namespace {

constexpr std::array<std::string_view, 2> keys_with_order{"rank_pattern", "alpha_pattern"};

/// A copy for writing: its objects have the order in which they were filled.
nlohmann::ordered_json in_order(const Json& value, KeptOrder kept) {
  if (kept == KeptOrder::itself && value.is_array()) {
    if (const auto members = ordered_members(value)) {
      nlohmann::ordered_json object = nlohmann::ordered_json::object();
      for (const auto& [name, member] : *members) object[name] = in_order(*member, KeptOrder::none);
      return object;
    }
  }
  if (value.is_array()) {
    const KeptOrder inner = kept == KeptOrder::elements ? KeptOrder::itself : KeptOrder::none;
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const Json& element : value) list.push_back(in_order(element, inner));
    return list;
  }
  if (!value.is_object()) return value;
  nlohmann::ordered_json object = nlohmann::ordered_json::object();
  for (const auto& [key, member] : value.items()) object.emplace(key, in_order(member, kept_order(key)));
  return object;
}

}  // namespace

KeptOrder kept_order(std::string_view key) {
  const auto last = key.substr(key.rfind('.') + 1);  // npos + 1 = 0
  if (std::find(keys_with_order.begin(), keys_with_order.end(), last) == keys_with_order.end()) return KeptOrder::none;
  return last.size() == key.size() ? KeptOrder::itself : KeptOrder::elements;
}

std::optional<std::vector<std::pair<std::string, const Json*>>> ordered_members(const Json& value) {
  std::vector<std::pair<std::string, const Json*>> members;
  std::set<std::string_view> names;
  if (value.is_object()) {
    for (const auto& [name, member] : value.items()) members.emplace_back(name, &member);
    return members;
  }
  if (!value.is_array()) return std::nullopt;
  for (const Json& part : value) {
    if (!part.is_object() || part.size() != 1 || !names.insert(part.begin().key()).second) return std::nullopt;
    members.emplace_back(part.begin().key(), &part.begin().value());
  }
  return members;
}

Json ordered_object(const std::vector<std::string>& names, Json object) {
  if (std::is_sorted(names.begin(), names.end())) return object;
  Json list = Json::array();
  for (const std::string& name : names) {
    Json part = Json::object();
    part[name] = std::move(object.at(name));
    list.push_back(std::move(part));
  }
  return list;
}

std::string to_pretty_string(const Json& value) {
  return in_order(value, KeptOrder::none).dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace peft
