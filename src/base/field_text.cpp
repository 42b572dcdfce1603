#include "src/base/field_text.h"

#include <fmt/format.h>

#include <cmath>

namespace peft {
namespace {

constexpr std::size_t longest_value = 80;  // of a value quoted in a message

struct ToJson {
  template <class T>
  std::optional<Json> operator()(const T* value) const {
    return Json(*value);
  }
  template <class T>
  std::optional<Json> operator()(const std::optional<T>* value) const {
    if (!value->has_value()) return std::nullopt;
    return Json(**value);
  }
};

}  // namespace

std::string joined_path(std::string_view path, std::string_view name) {
  return path.empty() ? std::string(name) : fmt::format("{}.{}", path, name);
}

std::string range_words(const FieldInfo& info) {
  std::string words;
  if (std::isfinite(info.min)) words = fmt::format("{} {}", info.min_exclusive ? ">" : ">=", info.min);
  if (std::isfinite(info.max)) {
    words += fmt::format("{}{} {}", words.empty() ? "" : " and ", info.max_exclusive ? "<" : "<=", info.max);
  }
  return words;
}

std::string quoted_list(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += fmt::format("{}\"{}\"", list.empty() ? "" : ", ", name);
  return list;
}

std::string short_json(const Json& value) {
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);  // ASCII only: safe to cut anywhere
  if (text.size() > longest_value) text = text.substr(0, longest_value) + "...";
  return text;
}

std::optional<Json> leaf_json(const Fields::Leaf& leaf) { return std::visit(ToJson(), leaf); }

}  // namespace peft
