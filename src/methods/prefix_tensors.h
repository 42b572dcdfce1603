#pragma once
/// What a prefix trains, and the vectors that come out of it. Private to src/methods.
/// K adapters, L layers with a prefix, P pairs, C model width, E hidden width, X = width of a vector: C where it still passes through
/// the layer's frozen maps, else Y = G D.

#include <vector>

#include "src/methods/encoder_network.h"

namespace peft {

enum class PrefixKind {
  none,       ///< keys and values, each trained by itself
  simple,     ///< one vector for both
  per_layer,  ///< a network of its own for every layer
  all_layers  ///< one network
};

struct PrefixTensors {
  PrefixKind kind = PrefixKind::none;
  at::Tensor key_KLPX, value_KLPX;  ///< none
  at::Tensor rows;                  ///< simple [K,L,P,X], per_layer [K,L,P,C], all_layers [K,P,C]
  std::vector<BankLinear>
      maps;  ///< of the network, [K,L,in,out] or [K,in,out]: two with tanh between, or one with tanh behind

  std::vector<at::Tensor> all() const;
  /// Adapter k as a bank of one; shares memory, without history.
  PrefixTensors slice(int64_t k) const;
  /// Each [K,P,X], layer by layer: the vector (simple), else the key's and then the value's. `width` X.
  std::vector<at::Tensor> slots(int64_t width) const;
  /// Least squares fit of the slots of a bank of one to `targets` [P,X] by Adam, in place.     [Li and Liang 2021, 7.4; their code]
  void fit(const std::vector<at::Tensor>& targets, int64_t steps, double learning_rate) const;
};

}  // namespace peft
