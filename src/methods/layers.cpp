#include "src/methods/layers.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <regex>
#include <set>

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

std::vector<const Attention*> chosen_attentions(const Transformer& model, const Json& layers, const Json& stacks) {
  const auto name_of = [&](const Attention& site) {
    return site.spec.source == KeySource::encoder ? "cross" : model.stacks()[site.stack].spec.name + "_self";
  };
  std::set<std::string> known;
  for (const Attention* site : model.attentions()) known.insert(name_of(*site));
  for (const Json& stack : stacks.is_array() ? stacks : Json::array()) {
    if (!known.contains(stack.get<std::string>())) {
      throw_error<ConfigError>("method.stacks: found {}, but {} has only \"{}\"", stack.dump(), model.spec().model_type,
                               fmt::join(known, "\", \""));
    }
  }
  std::vector<const Attention*> chosen;
  for (const Attention* site : model.attentions()) {
    const auto wanted = chosen_layers(layers, model.stacks()[site->stack].spec.depth());
    const bool in_stack =
        stacks == "all" || std::find(stacks.begin(), stacks.end(), Json(name_of(*site))) != stacks.end();
    if (in_stack && std::find(wanted.begin(), wanted.end(), site->layer) != wanted.end()) chosen.push_back(site);
  }
  return chosen;
}

std::optional<int64_t> layer_of(const std::string& module) {
  static const std::regex numbered(R"(.*?\.[^.]*\.(\d+)\..*)");
  std::smatch found;
  return std::regex_match(module, found, numbered) ? std::optional<int64_t>(std::stoll(found[1])) : std::nullopt;
}

}  // namespace peft
