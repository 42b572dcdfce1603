#pragma once
/// Which linear maps `target_modules` means, by peft's rules (hf-formats B.2). Private to src/methods.

#include <map>
#include <string>
#include <vector>

#include "peft/base/json.h"
#include "peft/models/transformer.h"

namespace peft {

/// `targets`: null = the architecture's default; "all-linear"; another string = a regular expression of the whole path; a list of names.
/// Modules of the trained head are never targets. Throws ConfigError when nothing matches, or a listed name matches nothing.
std::vector<const Linear*> match_targets(const Transformer& model, const Json& targets);

/// Value of the first key of a rank_pattern/alpha_pattern whose `(.*\.)?(KEY)$` matches the module, else the fallback.
template <class T>
T match_pattern(const std::map<std::string, T>& pattern, const std::string& module, T fallback);

}  // namespace peft
