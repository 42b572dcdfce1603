#pragma once
/// What a prefix or a state does around an operator that knows packed sequences and nothing else. Private to src/kernels.
///
/// A prefix is put in front of every sequence's own keys, so that the operator sees it; or it is merged into the operator's output by its
/// log-sum-exp, as a state is. The operator's backward is given the merged output and log-sum-exp, which makes it exact
/// (docs/kernels.md#merging-parts).

#include <array>
#include <memory>

#include "peft/kernels/attention.h"

namespace peft {

/// The trained tensors of a source, or their gradients; undefined where the call has none.
struct SourceTensors {
  at::Tensor prefix_k, prefix_v, z, den;
};

/// Output and log-sum-exp of the whole call, and what came back.     dout, q, out [T,H,D], lse float [H,T], -inf for rows without keys
struct MergedAttention {
  at::Tensor dout, q, out, lse_HT;
};

/// One call, from its forward to its backward.
class SourceRoute {
 public:
  SourceRoute() = default;
  virtual ~SourceRoute() = default;
  SourceRoute(const SourceRoute&) = delete;
  SourceRoute& operator=(const SourceRoute&) = delete;

  /// The rows of keys and values as the operator sees them, and their values.
  virtual Batch key_rows(const Batch& self) const { return self; }
  virtual std::array<at::Tensor, 2> keys_and_values(const at::Tensor& k, const at::Tensor& v,
                                                    const SourceTensors& /*source*/) {
    return {k, v};
  }
  /// The output with what the operator did not see, which may be `out` itself; the log-sum-exp in place.
  virtual at::Tensor merge(const at::Tensor& /*q*/, const at::Tensor& out, const at::Tensor& /*lse_HT*/,
                           const SourceTensors& /*source*/) {
    return out;
  }
  /// From the operator's dq, dk, dv to those of the call, and the gradients of the source.
  virtual SourceTensors backward(const MergedAttention& merged, const SourceTensors& source,
                                 std::array<at::Tensor, 3>& gradients) = 0;
};

/// In plain ATen: prefix rows by an index, a state by matrix products. Null for a call without a source.
std::unique_ptr<SourceRoute> stock_source(const AttentionArgs& args);

/// By our own kernels where one serves the call, else the stock one.
std::unique_ptr<SourceRoute> custom_source(const AttentionArgs& args, const at::Tensor& q);

}  // namespace peft
