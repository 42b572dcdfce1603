#pragma once
/// `method.layers`, and the layer that a module's path belongs to. Private to src/methods.

#include <optional>
#include <string>
#include <vector>

#include "peft/base/json.h"

namespace peft {

/// Throws ConfigError when the value of `method.layers` is neither "all", "first" nor a list of numbers.
void check_layers(const Json& layers);

/// The layers that such a value means in a stack of `count`, ascending. Throws ConfigError.
std::vector<int64_t> chosen_layers(const Json& layers, int64_t count);

/// Number behind the first `.NAME.` of a path that has one: the layer, as peft reads it.
std::optional<int64_t> layer_of(const std::string& module);

}  // namespace peft
