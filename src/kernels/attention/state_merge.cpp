#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "src/kernels/attention/internal.h"
#include "src/kernels/attention/state_internal.h"

namespace peft {
namespace {

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();
/// Numbers of phi held at a time: taylor2 has thousands of features a row.
constexpr int64_t kChunk = int64_t{1} << 22;

/// Some rows of one adapter against its state. S = H / Hs query heads share a head of the state, so rows are laid out [Hs, S n, .].
class StatePart {
 public:
  StatePart(const AttentionArgs& args, int64_t begin, int64_t rows, int64_t share)
      : args_(args), begin_(begin), rows_(rows), share_(share) {}

  /// Rows [n,H,X] of [T,H,X], in the type of sums.
  at::Tensor by_head(const at::Tensor& x_THX) const {
    const at::Tensor x = x_THX.narrow(0, begin_, rows_);
    return x.unflatten(1, {-1, share_})
        .permute({1, 2, 0, 3})
        .reshape({x.size(1) / share_, share_ * rows_, x.size(2)})
        .to(accumulation_type(x));
  }
  at::Tensor by_row(const at::Tensor& x) const {  // the inverse
    return x.unflatten(1, {share_, rows_}).permute({2, 0, 1, 3}).flatten(1, 2);
  }

  /// phi of the rows, and c where there is a center.
  void set_queries(const at::Tensor& q_THD, const at::Tensor& mask_THM, int64_t adapter) {
    const at::Tensor q = by_head(q_THD);
    y = q * std::sqrt(args_.scale);
    phi = features(y, args_.state.map);
    if (mask_THM.defined()) {
      mask = by_head(mask_THM);
      phi = phi * mask;
    }
    if (args_.state.center_KHD.defined()) {
      center = args_.state.center_KHD[adapter].detach().to(q.scalar_type()).unsqueeze(-1);
      shift = at::bmm(q, center) * args_.scale;
    }
  }
  /// a and b, and which rows are switched off.
  void set_values(const at::Tensor& augmented) {
    values = at::bmm(phi, augmented);
    if (args_.state.map != FeatureMap::elu) off = b() <= 0.0;
  }
  at::Tensor a() const { return values.narrow(-1, 0, values.size(-1) - 1); }
  at::Tensor b() const { return values.narrow(-1, values.size(-1) - 1, 1); }
  at::Tensor log_mass() const {
    at::Tensor mass = at::log(b());
    if (shift.defined()) mass = mass + shift;
    return off.defined() ? at::where(off, kMinusInfinity, mass) : mass;
  }
  /// Selected, not multiplied by zero: the other branch may not be finite.
  at::Tensor where_on(const at::Tensor& x) const { return off.defined() ? at::where(off, 0.0, x) : x; }
  /// g = e^{c - L}: at most 1 / b, and bounded where b = 0.
  at::Tensor row_scale(const at::Tensor& lse) const {
    const double largest = lse.scalar_type() == at::kDouble ? 700.0 : 80.0;
    const at::Tensor g = at::exp((shift.defined() ? shift - lse : -lse).clamp_max(largest));
    return where_on(at::where(lse == kMinusInfinity, 0.0, g));  // neither keys nor mass: nothing to divide by
  }

  at::Tensor y, phi, mask, center, shift, values, off;

 private:
  const AttentionArgs& args_;
  int64_t begin_, rows_, share_;
};

/// body(adapter, first row, rows) over all rows, a bounded number of features at a time.
template <class Body>
void for_chunks(const PackedBatch& queries, int64_t features_of_a_row, const Body& body) {
  const int64_t most = std::max<int64_t>(1, kChunk / features_of_a_row);
  for (int64_t k = 0; k < queries.adapters(); ++k) {
    for (int64_t begin = queries.group_rows()[k]; begin < queries.group_rows()[k + 1]; begin += most) {
      body(k, begin, std::min(most, queries.group_rows()[k + 1] - begin));
    }
  }
}

at::Tensor augmented_state(const at::Tensor& z_KHMD, const at::Tensor& den_KHM) {
  return at::cat({z_KHMD, den_KHM.unsqueeze(-1)}, -1);
}

}  // namespace

at::Tensor feature_dropout_mask(const AttentionArgs& args, int64_t heads, const at::Tensor& like) {
  if (!args.state.dropout.active()) return {};
  const int64_t features = args.state.den_KHM.size(2);
  return dropout(at::ones({args.queries->rows(), heads * features}, like.options()), args.state.dropout, args.queries)
      .view({args.queries->rows(), heads, features});
}

void merge_state(const at::Tensor& out_THD, const at::Tensor& lse_TH1, const at::Tensor& q_THD,
                 const at::Tensor& z_KHMD, const at::Tensor& den_KHM, const AttentionArgs& args) {
  const int64_t heads = q_THD.size(1), share = heads / z_KHMD.size(1);
  const at::Tensor augmented = augmented_state(z_KHMD, den_KHM), mask = feature_dropout_mask(args, heads, lse_TH1);
  for_chunks(*args.queries, heads * den_KHM.size(2), [&](int64_t k, int64_t begin, int64_t rows) {
    StatePart part(args, begin, rows, share);
    part.set_queries(q_THD, mask, k);
    part.set_values(augmented[k]);
    const at::Tensor self = part.by_head(lse_TH1), lse = at::logaddexp(self, part.log_mass());
    const at::Tensor weight = at::where(self == kMinusInfinity, 0.0, at::exp(self - lse));
    const at::Tensor out = weight * part.by_head(out_THD) + part.row_scale(lse) * part.where_on(part.a());
    out_THD.narrow(0, begin, rows).copy_(part.by_row(out));
    lse_TH1.narrow(0, begin, rows).copy_(part.by_row(lse));
    if (GatedRows* count = args.state.gated) {
      count->rows += rows * heads;
      if (part.off.defined()) count->gated += part.off.sum().item<int64_t>();
    }
  });
}

StateGradients state_backward(const at::Tensor& dout_THD, const at::Tensor& out_THD, const at::Tensor& lse_TH1,
                              const at::Tensor& q_THD, const at::Tensor& z_KHMD, const at::Tensor& den_KHM,
                              const AttentionArgs& args) {
  const int64_t heads = q_THD.size(1), share = heads / z_KHMD.size(1), width = z_KHMD.size(3);
  const at::Tensor augmented = augmented_state(z_KHMD, den_KHM), mask = feature_dropout_mask(args, heads, lse_TH1);
  at::Tensor dq_THD = at::empty(q_THD.sizes(), lse_TH1.options()), daugmented = at::zeros_like(augmented);
  for_chunks(*args.queries, heads * den_KHM.size(2), [&](int64_t k, int64_t begin, int64_t rows) {
    StatePart part(args, begin, rows, share);
    part.set_queries(q_THD, mask, k);
    if (args.state.map != FeatureMap::elu || part.shift.defined()) part.set_values(augmented[k]);
    const at::Tensor dout = part.by_head(dout_THD), delta = (dout * part.by_head(out_THD)).sum(-1, true);
    const at::Tensor g = part.row_scale(part.by_head(lse_TH1));
    const at::Tensor e = part.where_on(at::cat({dout, -delta}, -1) * g);
    at::Tensor dphi = at::bmm(e, augmented[k].transpose(1, 2));
    daugmented[k].add_(at::bmm(part.phi.transpose(1, 2), e));
    if (part.mask.defined()) dphi = dphi * part.mask;
    at::Tensor dq = features_backward(part.y, dphi, args.state.map) * std::sqrt(args.scale);
    if (part.shift.defined()) {
      const at::Tensor dshift = part.where_on((e * part.values).sum(-1, true));
      dq = dq + at::bmm(dshift, part.center.transpose(1, 2)) * args.scale;
    }
    dq_THD.narrow(0, begin, rows).copy_(part.by_row(dq));
  });
  return {dq_THD, daugmented.narrow(-1, 0, width), daugmented.select(-1, width)};
}

}  // namespace peft
