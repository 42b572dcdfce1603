#include "src/methods/targets.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <regex>
#include <set>

#include "peft/base/error.h"
#include "src/methods/layers.h"

namespace peft {
namespace {

std::regex compile(const std::string& pattern, const std::string& key) {
  try {
    return std::regex(pattern, std::regex::ECMAScript);
  } catch (const std::regex_error& error) {
    throw_error<ConfigError>("method.{}: \"{}\" is not a regular expression ({})", key, pattern, error.what());
  }
}

bool names_module(const std::string& target, const std::string& module) {
  return module == target || module.ends_with("." + target);
}

/// Last parts of the known paths: query, key, dense, ...
std::string known_names(const std::vector<const Linear*>& sites) {
  std::set<std::string> names;
  for (const Linear* site : sites) names.insert(site->module.substr(site->module.rfind('.') + 1));
  return fmt::format("{}", fmt::join(names, ", "));
}

void keep_layers(std::vector<const Linear*>& sites, const Targets& targets, int64_t layers) {
  const Json list = targets.layers.is_array() ? targets.layers : Json::array({targets.layers});
  for (const Json& index : list) {
    if (!index.is_number_integer() || index < 0 || index >= layers) {
      throw_error<ConfigError>("method.layers_to_transform: found {}, expected layers 0 to {}", index.dump(),
                               layers - 1);
    }
  }
  const Json& names = targets.modules;
  std::erase_if(sites, [&](const Linear* site) {
    if (std::find(names.begin(), names.end(), Json(site->module)) != names.end()) return false;  // by its whole path
    const auto layer = layer_of(site->module);
    return !layer || std::find(list.begin(), list.end(), Json(*layer)) == list.end();
  });
}

std::vector<const Linear*> named_sites(const Transformer& model, std::vector<const Linear*> sites,
                                       const Json& targets) {
  std::vector<const Linear*> matched;
  if (targets.is_string()) {
    const auto text = targets.get<std::string>();
    std::string lower = text;
    std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
    if (lower == "all-linear") return sites;
    const std::regex whole = compile(text, "target_modules");
    std::copy_if(sites.begin(), sites.end(), std::back_inserter(matched),
                 [&](const Linear* s) { return std::regex_match(s->module, whole); });
    if (matched.empty())
      throw_error<ConfigError>("method.target_modules: \"{}\" matches no linear map (known: {})", text,
                               known_names(sites));
    return matched;
  }
  std::vector<std::string> names = model.spec().default_lora_targets;
  if (!targets.is_null()) names = targets.get<std::vector<std::string>>();
  for (const std::string& name : names) {
    if (std::none_of(sites.begin(), sites.end(), [&](const Linear* s) { return names_module(name, s->module); })) {
      throw_error<ConfigError>("method.target_modules: no linear map is called \"{}\" (known: {})", name,
                               known_names(sites));
    }
  }
  std::copy_if(sites.begin(), sites.end(), std::back_inserter(matched), [&](const Linear* s) {
    return std::any_of(names.begin(), names.end(),
                       [&](const std::string& name) { return names_module(name, s->module); });
  });
  if (matched.empty()) throw_error<ConfigError>("method.target_modules: an empty list");
  return matched;
}

}  // namespace

bool gives_labels(const Transformer& model, const std::string& module) {
  const auto& head = model.spec().head;
  return std::any_of(head.begin(), head.end(),
                     [&](const HeadLayer& layer) { return layer.to_labels && layer.module == module; });
}

bool matches_names(const Json& names, const std::string& module, const std::string& key) {
  if (names.is_null()) return false;
  if (names.is_string()) return std::regex_match(module, compile(names.get<std::string>(), key));
  return std::any_of(names.begin(), names.end(),
                     [&](const Json& name) { return names_module(name.get<std::string>(), module); });
}

void check_names(const Json& names, const std::string& key) {
  const bool list =
      names.is_array() && std::all_of(names.begin(), names.end(), [](const Json& name) { return name.is_string(); });
  if (!names.is_null() && !names.is_string() && !list)
    throw_error<ConfigError>("method.{}: found {}, expected a string or a list of strings", key, names.dump());
}

std::vector<const Linear*> match_targets(const Transformer& model, const Targets& targets) {
  std::vector<const Linear*> sites = model.linear_sites();
  std::erase_if(sites, [&](const Linear* site) {
    const auto& own = targets.trained;
    return std::find(own.begin(), own.end(), site->module) != own.end() || gives_labels(model, site->module);
  });
  std::vector<const Linear*> matched = named_sites(model, std::move(sites), targets.modules);
  std::erase_if(matched,
                [&](const Linear* s) { return matches_names(targets.excluded, s->module, "exclude_modules"); });
  if (!targets.layers.is_null()) keep_layers(matched, targets, model.spec().first().depth());
  if (matched.empty()) {
    throw_error<ConfigError>("method.exclude_modules and method.layers_to_transform leave none of the targets");
  }
  return matched;
}

template <class T>
std::optional<T> match_pattern(const std::map<std::string, T>& pattern, const std::string& key,
                               const std::string& module) {
  for (const auto& [name, value] : pattern) {
    if (std::regex_match(module, compile("(.*\\.)?(" + name + ")", key))) return value;
  }
  return std::nullopt;
}

template std::optional<int64_t> match_pattern(const std::map<std::string, int64_t>&, const std::string&,
                                              const std::string&);
template std::optional<double> match_pattern(const std::map<std::string, double>&, const std::string&,
                                             const std::string&);

}  // namespace peft
