#include "src/kernels/attention/dense.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <limits>

#include "src/kernels/attention/internal.h"

namespace peft {
namespace {

/// Number of each row in [B, places].
at::Tensor padded_places(const Batch& rows, int64_t places, int64_t first) {
  return *rows->derived<at::Tensor>(fmt::format("places {} from {}", places, first), [&] {
    std::vector<int64_t> index;
    for (int64_t b = 0; b < rows->sequences(); ++b) {
      for (int64_t i = 0; i < rows->length(b); ++i) index.push_back(b * places + first + i);
    }
    return at::tensor(at::ArrayRef<int64_t>(index), at::kLong).to(rows->device());
  });
}

/// The places of some packed rows. A batch of equal lengths without gaps is a view.
class Places {
 public:
  Places(Batch rows, int64_t places, int64_t first)
      : rows_(std::move(rows)),
        places_(places),
        first_(first),
        whole_(rows_->rows() == rows_->sequences() * places && first == 0) {}

  bool whole() const { return whole_; }
  /// [T,H,D] to [B,N,H,D], 0 where no row is.
  at::Tensor spread(const at::Tensor& x_THD) const {
    if (whole_) return x_THD.unflatten(0, {rows_->sequences(), places_});
    return at::zeros({rows_->sequences() * places_, x_THD.size(1), x_THD.size(2)}, x_THD.options())
        .index_copy_(0, padded_places(rows_, places_, first_), x_THD)
        .unflatten(0, {rows_->sequences(), places_});
  }
  at::Tensor gather(const at::Tensor& x_BNHD) const {
    const at::Tensor rows = x_BNHD.flatten(0, 1);
    return whole_ ? rows.contiguous() : rows.index_select(0, padded_places(rows_, places_, first_));
  }

 private:
  Batch rows_;
  int64_t places_, first_;
  bool whole_;
};

/// Every distance of a line [H, N + M - 1] where it belongs: row n of [H,N,M] is the window of M that begins at N - 1 - n.
at::Tensor bias_of_places(const VarlenArgs& a, const DensePlaces& of) {
  constexpr int64_t kRowMultiple = 16;  // rows on 16 bytes in every type
  const at::Tensor& line = a.bias_HS;
  const int64_t stride = (of.keys + kRowMultiple - 1) / kRowMultiple * kRowMultiple;
  at::Tensor bias = at::empty({line.size(0), of.queries, stride}, line.options()).narrow(2, 0, of.keys);
  bias.copy_(line.unfold(1, of.keys, 1).flip(1));
  bias.narrow(2, 0, a.unbiased_keys).zero_();
  return bias.unsqueeze(0).expand({a.queries->sequences(), -1, -1, -1});
}

/// One call's operands by place. Keys in no row's place are kept out by one more product: 1 times a number so low that e to it is 0. A causal
/// mask hides them already.
struct Dense {
  Dense(const at::Tensor& q_THD, const at::Tensor& k_TGD, const at::Tensor& v_TGD, const VarlenArgs& a)
      : of(dense_places(a)),
        queries(a.queries, of.queries, of.first_query),
        keys(a.keys, of.keys, 0),
        width(q_THD.size(2)) {
    const int64_t heads = q_THD.size(1);
    q = queries.spread(q_THD);
    k = keys.spread(repeated_heads(k_TGD, heads));
    v = keys.spread(repeated_heads(v_TGD, heads));
    args = {a.scale, a.causal, a.bias_HS.defined() ? bias_of_places(a, of) : at::Tensor()};
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

DensePlaces dense_places(const VarlenArgs& a) {
  const int64_t queries = a.queries->longest(), keys = a.keys->longest();
  return a.causal ? DensePlaces{keys, keys, keys - queries} : DensePlaces{queries, keys, 0};
}

VarlenOut dense_forward(const DenseOps& ops, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                        const VarlenArgs& a) {
  const Dense x(q, k, v, a);
  const auto [out, lse] = ops.forward(x.q, x.k, x.v, x.args);
  return {x.queries.gather(out), lse_of_padded(lse, a.queries, x.of.first_query)};
}

std::array<at::Tensor, 3> dense_backward(const DenseOps& ops, const at::Tensor& dout, const at::Tensor& q,
                                         const at::Tensor& k, const at::Tensor& v, const at::Tensor& out,
                                         const at::Tensor& lse_HT, const VarlenArgs& a) {
  const Dense x(q, k, v, a);
  const auto [dq, dk, dv] = ops.backward(x.queries.spread(dout), x.q, x.k, x.v, x.queries.spread(out),
                                         lse_to_padded(lse_HT, a.queries, x.of.queries, x.of.first_query), x.args);
  const auto of_keys = [&](const at::Tensor& d) {
    return shared_heads(x.keys.gather(d.narrow(-1, 0, x.width)), k.size(1));
  };
  return {x.queries.gather(dq.narrow(-1, 0, x.width)), of_keys(dk), of_keys(dv)};
}

void add_dense_bias(VarlenArgs& shape, const AttentionArgs& args, const at::Tensor& q) {
  const DensePlaces places = dense_places(shape);
  const int64_t prefix = shape.keys->longest() - args.keys->longest();
  // A key at place m is m - prefix in its sequence, a query at place n is n - first_query.
  const int64_t zero = places.queries - 1 + prefix - places.first_query, span = places.queries + places.keys - 1;
  shape.bias_HS = distance_bias(args, zero, span, q.options());
  shape.unbiased_keys = args.bias.covers_prefix ? 0 : prefix;
}

at::Tensor repeated_heads(const at::Tensor& x_TGD, int64_t heads) {
  return x_TGD.size(1) == heads ? x_TGD : x_TGD.repeat_interleave(heads / x_TGD.size(1), 1);
}
at::Tensor shared_heads(const at::Tensor& dx_THD, int64_t groups) {
  return dx_THD.size(1) == groups ? dx_THD : dx_THD.unflatten(1, {groups, -1}).sum(2);
}

at::Tensor lse_of_padded(const at::Tensor& lse_BHN, const Batch& rows, int64_t first) {
  return lse_BHN.transpose(0, 1).flatten(1).index_select(1, padded_places(rows, lse_BHN.size(2), first));
}

at::Tensor lse_to_padded(const at::Tensor& lse_HT, const Batch& rows, int64_t places, int64_t first) {
  const int64_t heads = lse_HT.size(0), sequences = rows->sequences();
  at::Tensor padded = at::full({heads, sequences * places}, std::numeric_limits<double>::infinity(), lse_HT.options());
  padded.index_copy_(1, padded_places(rows, places, first), lse_HT);
  return padded.view({heads, sequences, places}).transpose(0, 1).contiguous();
}

}  // namespace peft
