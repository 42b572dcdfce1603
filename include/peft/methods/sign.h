#pragma once
/// A number that a method measures of its own values, and what helps where it is far from what works (docs/doctor.md).

#include <map>
#include <string>

namespace peft {

struct Sign {
  double value = 0.0;
  std::string cure;  ///< "KEY: what to do"
};

/// By name:
///   prompt_norm       mean norm of the virtual tokens over the median norm of the word embeddings
///   prefix_attention  share of the attention that falls on the prefix pairs, in the layer where it is largest
using Signs = std::map<std::string, Sign>;

}  // namespace peft
