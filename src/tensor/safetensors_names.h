#pragma once
/// Tensor names in messages about missing ones.

#include <filesystem>
#include <string>
#include <vector>

namespace peft {

template <class Map>
std::vector<std::string> names_of(const Map& map) {
  std::vector<std::string> names;
  names.reserve(map.size());
  for (const auto& item : map) names.push_back(item.first);
  return names;
}

/// `WHERE: no tensor "a.weigth"; did you mean "a.weight"?`
std::string no_such_tensor(const std::filesystem::path& where, const std::string& name,
                           const std::vector<std::string>& known);

}  // namespace peft
