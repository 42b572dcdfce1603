#pragma once
/// Which linear maps `target_modules` means, by peft's rules (docs/methods.md#lora). Private to src/methods.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "peft/base/json.h"
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
/// matches, a listed name matches nothing, or there is no layer of an index.
std::vector<const Linear*> match_targets(const Transformer& model, const Targets& targets);

/// Whether the module is the layer that gives the labels.
bool gives_labels(const Transformer& model, const std::string& module);

/// Whether a list of names (whole paths or their ends) or a regular expression of whole paths means the module; null: no.
bool matches_names(const Json& names, const std::string& module, const std::string& key);
/// Throws ConfigError naming the key when `names` is neither null, a string nor a list of strings.
void check_names(const Json& names, const std::string& key);

/// Value of the first key of a rank_pattern/alpha_pattern whose `(.*\.)?(KEY)$` matches the module. `key` names the pattern in errors.
template <class T>
std::optional<T> match_pattern(const std::map<std::string, T>& pattern, const std::string& key,
                               const std::string& module);

}  // namespace peft
