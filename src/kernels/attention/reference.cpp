#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "peft/kernels/attention.h"
#include "src/kernels/attention/internal.h"
#include "src/kernels/attention/state_internal.h"

namespace peft {
namespace {

/// ( sum_j e^{s_j} m_j v_j + e^c a ) / ( sum_j e^{s_j} + e^c b ), numerator and denominator divided by e^top for range alone.
/// scores [H,n,m], v [H,m,D], q [H,n,D], masks undefined or [H,n,m] and [H,n,M] -> [H,n,D]
at::Tensor with_state(const at::Tensor& scores, const at::Tensor& v_HMD, const at::Tensor& q_HND, int64_t adapter,
                      const at::Tensor& mask, const at::Tensor& feature_mask, const AttentionArgs& args) {
  const LinearState& state = args.state;
  const auto by_head = [&](const at::Tensor& bank) {
    return bank[adapter].repeat_interleave(q_HND.size(0) / bank.size(1), 0).to(q_HND.scalar_type());
  };
  at::Tensor phi = features(q_HND * std::sqrt(args.scale), state.map);
  if (feature_mask.defined()) phi = phi * feature_mask;
  at::Tensor a = at::matmul(phi, by_head(state.z_KHMD)), b = at::matmul(phi, by_head(state.den_KHM).unsqueeze(-1)),
             c = at::zeros_like(b);
  if (state.map != FeatureMap::elu) {
    const at::Tensor off = b.detach() <= 0.0;
    a = a.masked_fill(off, 0.0);
    b = b.masked_fill(off, 0.0);
  }
  if (state.center_KHD.defined()) c = at::matmul(q_HND, by_head(state.center_KHD.detach()).unsqueeze(-1)) * args.scale;
  at::Tensor top = c.detach();
  if (scores.size(2) > 0) top = at::maximum(top, scores.detach().amax(-1, true));
  const at::Tensor weights = at::exp(scores - top), mass = at::exp(c - top);
  const at::Tensor denominator = weights.sum(-1, true) + mass * b,
                   numerator = at::matmul(mask.defined() ? weights * mask : weights, v_HMD) + mass * a;
  const at::Tensor nothing = denominator.detach() == 0.0;
  return (numerator / denominator.masked_fill(nothing, 1.0)).masked_fill(nothing, 0.0);
}

}  // namespace

at::Tensor attention_reference(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const AttentionArgs& args) {
  const int64_t heads = q.size(1), share = heads / k.size(1);
  const auto by_head = [&](const at::Tensor& x_NGD) {  // [N,G,D] -> [H,N,D]
    return x_NGD.transpose(0, 1).repeat_interleave(share, 0);
  };
  const at::Tensor feature_mask = feature_dropout_mask(args, heads, q.to(accumulation_type(q)));
  std::vector<at::Tensor> outputs;
  for (int64_t b = 0; b < args.queries->sequences(); ++b) {
    const int64_t n = args.queries->length(b), m = args.keys->length(b), a = prefix_table(args, b);
    const at::Tensor q_HND = q.narrow(0, args.queries->begin(b), n).transpose(0, 1);
    at::Tensor k_HMD = by_head(k.narrow(0, args.keys->begin(b), m)),
               v_HMD = by_head(v.narrow(0, args.keys->begin(b), m));
    int64_t prefix = 0;
    if (args.prefix.defined()) {
      prefix = args.prefix.k_KPGD.size(1);
      k_HMD = at::cat({by_head(args.prefix.k_KPGD[a].to(k.scalar_type())), k_HMD}, 1);
      v_HMD = at::cat({by_head(args.prefix.v_KPGD[a].to(v.scalar_type())), v_HMD}, 1);
    }
    if (n == 0) continue;
    if (prefix + m == 0 && !args.state.defined()) {
      outputs.push_back(at::zeros({n, heads, v.size(2)}, q.options()));
      continue;
    }
    at::Tensor scores = at::matmul(q_HND, k_HMD.transpose(1, 2)) * args.scale;
    if (args.causal) {
      const at::Tensor hidden = behind_query(args, b, q.options());
      scores = scores.masked_fill(at::cat({at::zeros({n, prefix}, hidden.options()), hidden}, 1),
                                  -std::numeric_limits<double>::infinity());
    }
    if (args.bias.defined()) scores = scores + position_bias(args, args.bias.table_NH, b, prefix, scores.options());
    if (args.window > 0) {
      scores = scores.masked_fill(outside_window(args, b, prefix, scores.options()),
                                  -std::numeric_limits<double>::infinity());
    }
    at::Tensor mask;
    if (args.dropout.active())
      mask = attention_dropout_mask(args.dropout, *args.queries, b, heads, prefix, m).to(scores.options());
    if (args.state.defined()) {
      const at::Tensor self_features =
          feature_mask.defined() ? feature_mask.narrow(0, args.queries->begin(b), n).transpose(0, 1) : at::Tensor();
      outputs.push_back(
          with_state(scores, v_HMD, q_HND, args.queries->adapter(b), mask, self_features, args).transpose(0, 1));
      continue;
    }
    const at::Tensor sees_nothing = scores.detach().amax(-1, true) == -std::numeric_limits<double>::infinity(),
                     probabilities = at::softmax(scores, -1).masked_fill(sees_nothing, 0.0);
    outputs.push_back(at::matmul(mask.defined() ? probabilities * mask : probabilities, v_HMD).transpose(0, 1));
  }
  return outputs.empty() ? at::zeros_like(q) : at::cat(outputs);
}

}  // namespace peft
