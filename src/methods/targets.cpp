#include "src/methods/targets.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <stdexcept>

#include "peft/base/error.h"
#include "peft/base/log.h"
#include "peft/base/python_regex.h"
#include "src/methods/layers.h"

namespace peft {
namespace {

/// Asks the expression `pattern`, which the user wrote as `shown` under `key`.
template <class Ask>
bool ask(const std::string& pattern, const std::string& shown, const std::string& key, const Ask& question) {
  try {
    return question(PythonRegex(pattern));
  } catch (const std::invalid_argument& error) {
    throw_error<ConfigError>("method.{}: \"{}\" is not a regular expression ({})", key, shown, error.what());
  }
}

bool matches_whole(const std::string& pattern, const std::string& module, const std::string& key) {
  return ask(pattern, pattern, key, [&](const PythonRegex& regex) { return regex.fullmatch(module); });
}

/// peft's get_pattern_key.
bool matches_end(const std::string& name, const std::string& module, const std::string& key) {
  return ask("(.*\\.)?(" + name + ")$", name, key, [&](const PythonRegex& regex) { return regex.match(module); });
}

bool names_module(const std::string& target, const std::string& module) {
  return module == target || module.ends_with("." + target);
}

/// Last parts of the paths: query, key, dense, ...
std::string last_names(const std::vector<std::string>& modules) {
  std::set<std::string> names;
  for (const std::string& module : modules) names.insert(module.substr(module.rfind('.') + 1));
  return fmt::format("{}", fmt::join(names, ", "));
}

std::string known_names(const std::vector<const Linear*>& sites) {
  std::vector<std::string> modules;
  for (const Linear* site : sites) modules.push_back(site->module);
  return last_names(modules);
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
    if (is_all_linear(targets)) return sites;
    std::copy_if(sites.begin(), sites.end(), std::back_inserter(matched),
                 [&](const Linear* s) { return matches_whole(text, s->module, "target_modules"); });
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

/// Names that exclude nothing at all are mistakes; those that exclude none of the targets may be meant for other targets.
void exclude(std::vector<const Linear*>& sites, const Transformer& model, const Json& names) {
  const std::vector<std::string> idle = idle_names(names, all_maps(model), "exclude_modules");
  if (!idle.empty()) {
    throw_error<ConfigError>("method.exclude_modules: no linear map is called \"{}\" (known: {})", idle.front(),
                             last_names(all_maps(model)));
  }
  const std::size_t excluded =
      std::erase_if(sites, [&](const Linear* site) { return matches_names(names, site->module, "exclude_modules"); });
  if (excluded == 0 && !names.is_null() && !names.empty())
    log_warning("method.exclude_modules: {} excludes none of the targets", names.dump());
}

}  // namespace

bool is_all_linear(const Json& targets) {
  if (!targets.is_string()) return false;
  auto lower = targets.get<std::string>();
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  return lower == "all-linear";
}

bool gives_labels(const Transformer& model, const std::string& module) {
  const auto& head = model.spec().head();
  return std::any_of(head.begin(), head.end(),
                     [&](const HeadLayer& layer) { return layer.to_labels && layer.module == module; });
}

bool matches_names(const Json& names, const std::string& module, const std::string& key) {
  if (names.is_null()) return false;
  if (names.is_string()) return matches_whole(names.get<std::string>(), module, key);
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
  exclude(matched, model, targets.excluded);
  if (!targets.layers.is_null()) keep_layers(matched, targets, model.spec().first().depth());
  if (matched.empty()) {
    throw_error<ConfigError>("method.exclude_modules and method.layers_to_transform leave none of the targets");
  }
  return matched;
}

std::vector<std::string> idle_names(const Json& names, const std::vector<std::string>& modules,
                                    const std::string& key) {
  std::vector<std::string> idle;
  for (const Json& name : names.is_string() ? Json::array({names}) : names) {
    const Json one = names.is_string() ? name : Json::array({name});
    if (std::none_of(modules.begin(), modules.end(),
                     [&](const std::string& module) { return matches_names(one, module, key); })) {
      idle.push_back(name.get<std::string>());
    }
  }
  return idle;
}

std::vector<std::string> all_maps(const Transformer& model) {
  std::vector<std::string> modules;
  for (const Linear* site : model.linear_sites()) modules.push_back(site->module);
  for (const HeadLayer& layer : model.spec().head()) modules.push_back(layer.module);
  return modules;
}

template <class T>
std::optional<T> match_pattern(const OrderedMap<T>& pattern, const std::string& key, const std::string& module) {
  for (const auto& [name, value] : pattern.members) {
    if (matches_end(name, module, key)) return value;
  }
  return std::nullopt;
}

template <class T>
std::vector<std::string> idle_keys(const OrderedMap<T>& pattern, const std::string& key,
                                   const std::vector<std::string>& modules) {
  std::vector<std::string> idle;
  for (const auto& [name, value] : pattern.members) {
    const auto matches = [&, &wanted = name](const std::string& module) { return matches_end(wanted, module, key); };
    if (std::none_of(modules.begin(), modules.end(), matches)) idle.push_back(name);
  }
  return idle;
}

template <class T>
void check_pattern(const OrderedMap<T>& pattern, const std::string& key, const std::vector<std::string>& modules) {
  const std::vector<std::string> idle = idle_keys(pattern, key, modules);
  if (!idle.empty()) {
    throw_error<ConfigError>("method.{}: \"{}\" matches none of the targets (known: {})", key, idle.front(),
                             last_names(modules));
  }
  std::vector<std::string> left = modules;
  for (const auto& [name, value] : pattern.members) {
    const auto matches = [&, &wanted = name](const std::string& module) { return matches_end(wanted, module, key); };
    if (std::erase_if(left, matches) == 0) {
      log_warning("method.{}: \"{}\" has no effect: keys before it match the same targets, and the first one counts",
                  key, name);
    }
  }
}

template std::optional<int64_t> match_pattern(const OrderedMap<int64_t>&, const std::string&, const std::string&);
template std::optional<double> match_pattern(const OrderedMap<double>&, const std::string&, const std::string&);
template std::vector<std::string> idle_keys(const OrderedMap<int64_t>&, const std::string&,
                                            const std::vector<std::string>&);
template std::vector<std::string> idle_keys(const OrderedMap<double>&, const std::string&,
                                            const std::vector<std::string>&);
template void check_pattern(const OrderedMap<int64_t>&, const std::string&, const std::vector<std::string>&);
template void check_pattern(const OrderedMap<double>&, const std::string&, const std::vector<std::string>&);

}  // namespace peft
