#pragma once
/// Which linear maps `target_modules` means, by peft's rules (docs/methods.md#lora). Private to src/methods.

#include <optional>
#include <string>
#include <vector>

#include "peft/base/json.h"
#include "peft/base/ordered_map.h"
#include "peft/models/transformer.h"

namespace peft {

/// Which maps a method with targets touches.
struct Targets {
  Json modules;  ///< null = the architecture's default; "all-linear"; another string = a regular expression of the
                 ///< whole path; a list of names
  Json excluded = {};  ///< names or one regular expression, as above; null: none
  Json layers =
      {};  ///< indices of layers, one or a list; null: all. Targets given by their whole path stay in any case
  std::vector<std::string> trained = {};  ///< modules of the head that train themselves (modules_to_save)
};

/// Never targets: what trains itself, and the layer that gives the labels, which every method brings. Throws ConfigError when nothing
/// matches, a listed or excluded name or expression matches nothing, or there is no layer of an index.
std::vector<const Linear*> match_targets(const Transformer& model, const Targets& targets);

/// Whether target_modules means every linear map, in any case of its letters.
bool is_all_linear(const Json& targets);

/// Whether the module is the layer that gives the labels.
bool gives_labels(const Transformer& model, const std::string& module);

/// Whether a list of names (whole paths or their ends) or a regular expression of whole paths means the module; null: no.
bool matches_names(const Json& names, const std::string& module, const std::string& key);
/// Throws ConfigError naming the key when `names` is neither null, a string nor a list of strings.
void check_names(const Json& names, const std::string& key);

/// Those of `names` (a list of names or one regular expression, as `key` of a config has them) that mean none of the modules.
std::vector<std::string> idle_names(const Json& names, const std::vector<std::string>& modules, const std::string& key);

/// All modules that exclude_modules may name: the linear maps and the layers of the head.
std::vector<std::string> all_maps(const Transformer& model);

/// Value of the first key of a rank_pattern/alpha_pattern, in its order, whose `(.*\.)?(KEY)$` matches the module as Python's re.match
/// does. `key` names the pattern in errors.
template <class T>
std::optional<T> match_pattern(const OrderedMap<T>& pattern, const std::string& key, const std::string& module);

/// Keys of a pattern that match none of the modules.
template <class T>
std::vector<std::string> idle_keys(const OrderedMap<T>& pattern, const std::string& key,
                                   const std::vector<std::string>& modules);

/// Throws ConfigError for such a key, and warns of one whose modules all match a key before it.
template <class T>
void check_pattern(const OrderedMap<T>& pattern, const std::string& key, const std::vector<std::string>& modules);

}  // namespace peft
