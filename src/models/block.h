#pragma once
/// One layer of a stack, by autograd: the reference. Everything a method adds comes as data, so a sibling without autograd can be given the
/// same answers. Private to src/models.

#include "peft/models/cache.h"
#include "peft/models/sockets.h"

namespace peft {

/// What one pass through the network shares.
struct Pass {
  Sockets& sockets;
  const DropoutContext& dropout;
  const DropoutRates& rates;
  const Execution& execution;

  DropoutSite site(std::string name, const std::optional<double>& p) const {
    return {&dropout, std::move(name), {p.value_or(0.0)}};
  }
  /// y = x W^T + b and what the method adds to it.
  at::Tensor linear(const Linear& map, const at::Tensor& x_TC, const Batch& rows) const;
  at::Tensor with_addition(const Linear& map, const at::Tensor& y_TO, const at::Tensor& x_TC, const Batch& rows) const;
  at::Tensor with_addition(const Norm& norm, const at::Tensor& y_TC, const Batch& rows) const;
};

/// Rows of the encoder that a decoder reads.
struct Memory {
  at::Tensor x_TC;
  Batch rows;
};

struct StackPass {
  const Pass& pass;
  const Stack& stack;
  std::string name;  ///< in front of the dropout sites' names
  Batch rows;
  const Memory* memory = nullptr;
  KeyValueCache* cache = nullptr;
};

/// Rows that leave a layer: all, or those that somebody reads of the last one.
struct LeavingRows {
  Batch rows;
  at::Tensor numbers;  ///< int64 among those that enter; undefined: all
};

/// x_TC, rows of `pass.rows` -> [rows that leave, C]. The last layer runs queries, feed-forward and norms for leaving rows alone.
at::Tensor block_forward(const Layer& layer, const at::Tensor& x_TC, const StackPass& pass, const LeavingRows& leaving);

/// A norm of the stack, with the method's addition.
at::Tensor normed(const Norm& norm, const at::Tensor& x_TC, const StackPass& pass, const Batch& rows);

at::Tensor activate(const at::Tensor& x, Activation activation);

}  // namespace peft
