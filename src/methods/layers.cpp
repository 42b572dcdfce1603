#include "src/methods/layers.h"

#include <algorithm>
#include <numeric>
#include <regex>

#include "peft/base/error.h"

namespace peft {

namespace {

bool is_list_of(const Json& value, bool (Json::*is)() const noexcept) {
  return value.is_array() && !value.empty() &&
         std::all_of(value.begin(), value.end(), [&](const Json& x) { return (x.*is)(); });
}

}  // namespace

void check_layers(const Json& layers) {
  if (layers != "all" && layers != "first" && !is_list_of(layers, &Json::is_number_integer)) {
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

void check_stacks(const Json& stacks) {
  if (stacks != "all" && !is_list_of(stacks, &Json::is_string))
    throw_error<ConfigError>("method.stacks: found {}, expected \"all\" or a list of names", stacks.dump());
}

void check_stacks_of(const ModelSpec& spec, const Json& stacks) {
  const std::string own = spec.stack.name + "_self";
  for (const Json& stack : stacks.is_array() ? stacks : Json::array()) {
    if (stack != own)
      throw_error<ConfigError>("method.stacks: found {}, but {} has only \"{}\"", stack.dump(), spec.model_type, own);
  }
}

std::optional<int64_t> layer_of(const std::string& module) {
  static const std::regex numbered(R"(.*?\.[^.]*\.(\d+)\..*)");
  std::smatch found;
  return std::regex_match(module, found, numbered) ? std::optional<int64_t>(std::stoll(found[1])) : std::nullopt;
}

}  // namespace peft
