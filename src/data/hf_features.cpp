#include "hf_features.h"

#include <set>

#include "peft/base/error.h"

namespace peft {
namespace {

const Json* member(const Json* object, std::string_view key) {
  if (object == nullptr || !object->is_object()) return nullptr;
  const auto found = object->find(key);
  return found == object->end() ? nullptr : &*found;
}

const Json* find_feature(const Json& features, std::string_view column) {
  if (const Json* whole = member(&features, column)) return whole;
  const Json* feature = &features;
  while (feature != nullptr) {
    const auto dot = column.find('.');
    feature = member(feature, column.substr(0, dot));
    if (dot == std::string_view::npos) break;
    column.remove_prefix(dot + 1);
  }
  return feature;
}

}  // namespace

std::vector<std::string> class_names_of(const Json& features, std::string_view column, std::string_view origin) {
  const Json* feature = find_feature(features, column);
  if (feature != nullptr && feature->is_array() && feature->size() == 1) feature = &feature->front();  // a list
  if (const Json* members = member(feature, "feature")) feature = members;  // List, Sequence, LargeList
  const Json* type = member(feature, "_type");
  const Json* names = member(feature, "names");
  const bool classes = type != nullptr && type->is_string() && type->get_ref<const std::string&>() == "ClassLabel";
  if (!classes || names == nullptr) return {};
  std::vector<std::string> list;
  std::set<std::string> distinct;
  for (const Json& name : *names) {
    if (!names->is_array() || !name.is_string() || !distinct.insert(name.get<std::string>()).second)
      throw_error<DataError>("{}: names of the classes of {}: found {}, expected different strings", origin, column,
                             names->dump());
    list.push_back(name.get<std::string>());
  }
  return list;
}

}  // namespace peft
