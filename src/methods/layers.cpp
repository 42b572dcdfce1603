#include "src/methods/layers.h"

#include <algorithm>
#include <numeric>
#include <regex>

#include "peft/base/error.h"

namespace peft {

void check_layers(const Json& layers) {
  const bool list = layers.is_array() && !layers.empty() &&
                    std::all_of(layers.begin(), layers.end(), [](const Json& i) { return i.is_number_integer(); });
  if (layers != "all" && layers != "first" && !list) {
    throw_error<ConfigError>("method.layers: found {}, expected \"all\", \"first\" or a list of indices",
                             layers.dump());
  }
}

std::vector<int64_t> chosen_layers(const Json& layers, int64_t count) {
  if (layers == "first") return {0};
  if (layers == "all") {
    std::vector<int64_t> all(count);
    std::iota(all.begin(), all.end(), 0);
    return all;
  }
  auto chosen = layers.get<std::vector<int64_t>>();
  std::sort(chosen.begin(), chosen.end());
  if (chosen.front() < 0 || chosen.back() >= count)
    throw_error<ConfigError>("method.layers: found {}, expected indices 0 to {}", layers.dump(), count - 1);
  if (std::adjacent_find(chosen.begin(), chosen.end()) != chosen.end())
    throw_error<ConfigError>("method.layers: found {}, expected every index once", layers.dump());
  return chosen;
}

std::optional<int64_t> layer_of(const std::string& module) {
  static const std::regex numbered(R"(.*?\.[^.]*\.(\d+)\..*)");
  std::smatch found;
  return std::regex_match(module, found, numbered) ? std::optional<int64_t>(std::stoll(found[1])) : std::nullopt;
}

}  // namespace peft
