#pragma once
/// The only places where a method can touch the frozen network. The network asks, the method answers with data or stays silent; the
/// default answer is "nothing", and a method that touches nothing costs nothing (docs/DESIGN.md#three-ideas).
/// T tokens, B sequences, K adapters, P virtual tokens, C model width, O outputs of a linear map.

#include <ATen/core/Tensor.h>

#include <string>
#include <variant>
#include <vector>

#include "peft/kernels/attention.h"
#include "peft/kernels/embedding.h"
#include "peft/kernels/low_rank.h"
#include "peft/models/sites.h"

namespace peft {

/// y += scale (dropout(x) A) B, of each token's adapter.
struct LowRankAddition {
  const LowRankBank* bank = nullptr;
  DropoutSite dropout;  ///< on x
};

/// y += bias[k] for the tokens of adapter k.
struct BiasAddition {
  at::Tensor bias_KO;
};

/// What a method adds to the output of a named linear map. The network forms it.
using LinearAddition = std::variant<std::monostate, LowRankAddition, BiasAddition>;
/// What a method adds to the output of a named norm.
using NormAddition = std::variant<std::monostate, BiasAddition>;

/// A bank of linear layers that replaces a module of the head.
struct TrainedLinear {
  at::Tensor weight_KOC, bias_KO;
};

class Sockets {
 public:
  virtual ~Sockets() = default;

  /// Embedding: other rows than the word embeddings of these ids, virtual tokens in front of every sequence; before position, type and
  /// norm. Of the stack that reads the text.
  virtual Embedded embed(const at::Tensor& /*ids_T*/, const Batch& /*rows*/) { return {}; }
  /// The input of a layer, where virtual tokens may be overwritten. Of the stack that reads the text.
  virtual at::Tensor layer_input(const Stack& /*stack*/, int64_t /*layer*/, const at::Tensor& x_TC,
                                 const Batch& /*rows*/) {
    return x_TC;
  }
  /// Attention: keys and values in front of its own.
  virtual PrefixKV prefix(const Attention& /*site*/) { return {}; }
  /// Attention: a linear state that every query sees; an attention has a prefix or a state.
  virtual LinearState state(const Attention& /*site*/) { return {}; }
  virtual LinearAddition linear(const Linear& /*site*/) { return {}; }
  virtual NormAddition norm(const Norm& /*site*/) { return {}; }
  /// Head: other layers than the architecture's; nullptr = those.
  virtual const std::vector<HeadLayer>* head() const { return nullptr; }
  /// Head: the trained copies of a module; nullptr = the checkpoint's own.
  virtual const TrainedLinear* trained_module(const std::string& /*module*/) { return nullptr; }

  /// Position of a text's first token (prefix: P).
  virtual int64_t first_position() const { return 0; }
  /// What the classifier reads, where the architecture reads `own`.
  virtual Pool pool(Pool own) const { return own; }
};

}  // namespace peft
