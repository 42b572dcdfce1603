#pragma once
/// What the frozen model makes of a text: start values of prefixes. Private to src/methods.

#include <vector>

#include "peft/models/transformer.h"

namespace peft {

/// A key or value map of an attention, and the norm in front of it where it has one, applied to rows of any type as frozen functions.
at::Tensor through_map(const Transformer& model, const Attention& site, const Linear& map, const at::Tensor& x,
                       bool norm);

/// The input rows of every layer for a text of these ids at positions 0, 1, ... and token type 0.     each [ids, C]
std::vector<at::Tensor> layer_inputs(const Transformer& model, const std::vector<int64_t>& ids);

}  // namespace peft
