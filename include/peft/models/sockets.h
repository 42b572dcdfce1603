#pragma once
/// The only places where a method can touch the frozen network. The network asks, the method answers or stays silent; the default
/// answer is "nothing", and a method that touches nothing costs nothing (docs/DESIGN.md#three-ideas).
/// T rows, B sequences, K adapters, P virtual rows, C model width, O outputs of a linear map.

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "peft/kernels/attention.h"
#include "peft/kernels/embedding.h"
#include "peft/tensor/packed_batch.h"

namespace peft {

/// A named linear map of the network: y = x W^T + b.
struct Linear {
  std::string module;  ///< path as peft spells it
  at::Tensor weight_OC;
  at::Tensor bias_O;  ///< undefined: none
  int64_t in_features() const { return weight_OC.size(1); }
  int64_t out_features() const { return weight_OC.size(0); }
};

struct Norm;
struct HeadLayer;

/// A bank of linear layers that replaces a module of the head.
struct TrainedLinear {
  at::Tensor weight_KOC, bias_KO;
};

enum class PooledRow {
  first,  ///< row 0 of the longer sequence: the first virtual row where there is one
  text    ///< the first row of the text ([CLS])
};

class Sockets {
 public:
  virtual ~Sockets() = default;

  /// Embedding: other rows than the word embeddings of these ids, rows in front of every sequence; before position, type and norm.
  virtual Embedded embed(const at::Tensor& /*ids_T*/, const Batch& /*rows*/) { return {}; }
  /// Rows: the input of a layer, where virtual rows may be overwritten.
  virtual at::Tensor layer_input(int64_t /*layer*/, const at::Tensor& x_TC, const Batch& /*rows*/) { return x_TC; }
  /// Attention: keys and values in front of those of a layer.
  virtual PrefixKV prefix(int64_t /*layer*/) { return {}; }
  /// Attention: a linear state that every query of a layer sees; a layer has a prefix or a state.
  virtual LinearState state(int64_t /*layer*/) { return {}; }
  /// Linear: what to add to the output of a named map; undefined = nothing. `x_TC` is the map's input, one row per row of `rows`.
  virtual at::Tensor linear(const Linear& /*site*/, const at::Tensor& /*x_TC*/, const Batch& /*rows*/) { return {}; }
  /// Norm: what to add to the output of a named norm, one row per row of `rows`; undefined = nothing.
  virtual at::Tensor norm(const Norm& /*site*/, const Batch& /*rows*/) { return {}; }
  /// Head: other layers than the architecture's; nullptr = those.
  virtual const std::vector<HeadLayer>* head() const { return nullptr; }
  /// Head: the trained copies of a module; nullptr = the checkpoint's own.
  virtual const TrainedLinear* trained_module(const std::string& /*module*/) { return nullptr; }

  /// Rows by which the text's positions move (prefix: P).
  virtual int64_t position_shift() const { return 0; }
  virtual PooledRow pooling() const { return PooledRow::text; }
};

}  // namespace peft
