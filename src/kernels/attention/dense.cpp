#include "src/kernels/attention/dense.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "src/kernels/attention/internal.h"

namespace peft {
namespace {

/// Biases have rows of whole 16 bytes, and operators want no other numbers of places.
constexpr int64_t kBiasMultiple = 32;

/// Number of each row in [B, places].
at::Tensor padded_places(const at::Tensor& cu, int64_t rows, int64_t places, int64_t first) {
  const at::Tensor row = at::arange(rows, cu.options().dtype(at::kLong)), ends = cu.slice(0, 1).to(at::kLong);
  const at::Tensor sequence = at::searchsorted(ends, row, /*out_int32=*/false, /*right=*/true);
  return sequence * places + first + row - cu.to(at::kLong).index_select(0, sequence);
}

/// The places of some packed rows. A batch of equal lengths without gaps is a view.
class Places {
 public:
  Places(const at::Tensor& cu, int64_t rows, int64_t places, int64_t first)
      : sequences_(cu.size(0) - 1), places_(places), whole_(rows == sequences_ * places && first == 0) {
    if (!whole_) index_ = padded_places(cu, rows, places, first);
  }
  bool whole() const { return whole_; }
  /// [T,H,D] to [B,N,H,D], 0 where no row is.
  at::Tensor spread(const at::Tensor& x_THD) const {
    if (whole_) return x_THD.unflatten(0, {sequences_, places_});
    return at::zeros({sequences_ * places_, x_THD.size(1), x_THD.size(2)}, x_THD.options())
        .index_copy_(0, index_, x_THD)
        .unflatten(0, {sequences_, places_});
  }
  at::Tensor gather(const at::Tensor& x_BNHD) const {
    const at::Tensor rows = x_BNHD.flatten(0, 1);
    return whole_ ? rows.contiguous() : rows.index_select(0, index_);
  }

 private:
  int64_t sequences_, places_;
  bool whole_;
  at::Tensor index_;
};

/// One call's operands by place. Keys in no row's place are kept out by one more product: 1 times a number so low that e to it is 0. A causal
/// mask hides them already.
struct Dense {
  Dense(const DenseOps& ops, const at::Tensor& q_THD, const at::Tensor& k_TGD, const at::Tensor& v_TGD,
        const VarlenArgs& a)
      : of(dense_places(a, ops.multiple)),
        queries(a.cu_q, q_THD.size(0), of.queries, of.first_query),
        keys(a.cu_k, k_TGD.size(0), of.keys, 0),
        width(q_THD.size(2)) {
    const int64_t heads = q_THD.size(1);
    q = queries.spread(q_THD);
    k = keys.spread(repeated_heads(k_TGD, heads));
    v = keys.spread(repeated_heads(v_TGD, heads));
    args = {a.scale, a.causal, {}};
    if (a.bias_HNM.defined()) {
      args.bias_BHNM = a.bias_HNM.narrow(1, 0, of.queries)
                           .narrow(2, 0, of.keys)
                           .unsqueeze(0)
                           .expand({q.size(0), heads, of.queries, of.keys});
    }
    if (a.causal || keys.whole()) return;
    constexpr int64_t kColumns = 8;       // rows stay whole 16 bytes
    constexpr double kHidden = -60000.0;  // half ends at 65504
    const auto column = [](const at::Tensor& x, const at::Tensor& values) {
      return at::cat({x, at::constant_pad_nd(values, {0, kColumns - 1})}, -1);
    };
    const at::Tensor there = keys.spread(at::ones({k_TGD.size(0), 1, 1}, k.options())).expand({-1, -1, heads, -1});
    q = column(q, at::ones({q.size(0), q.size(1), heads, 1}, q.options()));
    k = column(k, (1.0 - there) * kHidden);
  }

  DensePlaces of;
  Places queries, keys;
  int64_t width;
  at::Tensor q, k, v;
  DenseArgs args;
};

}  // namespace

DensePlaces dense_places(const VarlenArgs& a, int64_t multiple) {
  const auto whole = [&](int64_t places) { return (places + multiple - 1) / multiple * multiple; };
  const DensePlaces places{whole(a.longest_q), whole(a.longest_k), 0};
  return a.causal ? DensePlaces{places.keys, places.keys, a.longest_k - a.longest_q} : places;
}

VarlenOut dense_forward(const DenseOps& ops, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                        const VarlenArgs& a) {
  const Dense x(ops, q, k, v, a);
  const auto [out, lse] = ops.forward(x.q, x.k, x.v, x.args);
  return {x.queries.gather(out), lse_of_padded(lse, a.cu_q, q.size(0), x.of.first_query)};
}

std::array<at::Tensor, 3> dense_backward(const DenseOps& ops, const at::Tensor& dout, const at::Tensor& q,
                                         const at::Tensor& k, const at::Tensor& v, const at::Tensor& out,
                                         const at::Tensor& lse_HT, const VarlenArgs& a) {
  const Dense x(ops, q, k, v, a);
  const auto [dq, dk, dv] = ops.backward(x.queries.spread(dout), x.q, x.k, x.v, x.queries.spread(out),
                                         lse_to_padded(lse_HT, a.cu_q, x.of.queries, x.of.first_query), x.args);
  const auto of_keys = [&](const at::Tensor& d) {
    return shared_heads(x.keys.gather(d.narrow(-1, 0, x.width)), k.size(1));
  };
  return {x.queries.gather(dq.narrow(-1, 0, x.width)), of_keys(dk), of_keys(dv)};
}

at::Tensor dense_bias(const AttentionArgs& args, const VarlenArgs& shape, int64_t prefix, const at::Tensor& q) {
  const DensePlaces places = dense_places(shape, kBiasMultiple);
  // Row n is the distances from -(n + behind) on: row N - 1 is the first window of all distances, row 0 the last.
  const int64_t behind = prefix - places.first_query, span = places.queries + places.keys - 1;
  const at::Tensor by_distance = distance_bias(args, behind + places.queries - 1, span, q.options());
  at::Tensor bias = by_distance.unfold(1, places.keys, 1).flip(1).contiguous();
  if (!args.bias.covers_prefix) bias.narrow(2, 0, prefix).zero_();
  return bias;
}

at::Tensor repeated_heads(const at::Tensor& x_TGD, int64_t heads) {
  return x_TGD.size(1) == heads ? x_TGD : x_TGD.repeat_interleave(heads / x_TGD.size(1), 1);
}
at::Tensor shared_heads(const at::Tensor& dx_THD, int64_t groups) {
  return dx_THD.size(1) == groups ? dx_THD : dx_THD.unflatten(1, {groups, -1}).sum(2);
}

at::Tensor lse_of_padded(const at::Tensor& lse_BHN, const at::Tensor& cu, int64_t rows, int64_t first) {
  return lse_BHN.transpose(0, 1).flatten(1).index_select(1, padded_places(cu, rows, lse_BHN.size(2), first));
}

at::Tensor lse_to_padded(const at::Tensor& lse_HT, const at::Tensor& cu, int64_t places, int64_t first) {
  const int64_t heads = lse_HT.size(0), sequences = cu.size(0) - 1;
  at::Tensor padded = at::full({heads, sequences * places}, std::numeric_limits<double>::infinity(), lse_HT.options());
  padded.index_copy_(1, padded_places(cu, lse_HT.size(1), places, first), lse_HT);
  return padded.view({heads, sequences, places}).transpose(0, 1).contiguous();
}

}  // namespace peft
