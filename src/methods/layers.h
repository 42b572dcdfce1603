#pragma once
/// `method.layers` and `method.stacks`, and the layer that a module's path belongs to. Private to src/methods.

#include <optional>
#include <string>
#include <vector>

#include "peft/base/json.h"
#include "peft/models/transformer.h"

namespace peft {

/// Throws ConfigError when the value of `method.layers` is neither "all", "first" nor a list of numbers.
void check_layers(const Json& layers);

/// The layers that such a value means in a stack of `count`, ascending. Throws ConfigError.
std::vector<int64_t> chosen_layers(const Json& layers, int64_t count);

/// The same for `method.stacks`: "all" or a list of names.
void check_stacks(const Json& stacks);
/// The attentions of the chosen layers in the chosen stacks: "<stack>_self" reads its own tokens, "cross" the encoder's. Throws ConfigError
/// naming a stack that the architecture does not have.
std::vector<const Attention*> chosen_attentions(const Transformer& model, const Json& layers, const Json& stacks);

/// Number behind the first `.NAME.` of a path that has one: the layer, as peft reads it.
std::optional<int64_t> layer_of(const std::string& module);

}  // namespace peft
