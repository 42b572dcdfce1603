#include <ATen/ATen.h>

#include <limits>

#include "peft/kernels/attention.h"

namespace peft {

at::Tensor attention_reference(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const AttentionArgs& args) {
  const int64_t heads = q.size(1), share = heads / k.size(1);
  const auto by_head = [&](const at::Tensor& x_NGD) {  // [N,G,D] -> [H,N,D]
    return x_NGD.transpose(0, 1).repeat_interleave(share, 0);
  };
  std::vector<at::Tensor> outputs;
  for (int64_t b = 0; b < args.queries->sequences(); ++b) {
    const int64_t n = args.queries->length(b), m = args.keys->length(b), a = args.queries->adapter(b);
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
    if (prefix + m == 0) {
      outputs.push_back(at::zeros({n, heads, v.size(2)}, q.options()));
      continue;
    }
    at::Tensor scores = at::matmul(q_HND, k_HMD.transpose(1, 2)) * args.scale;
    if (args.causal) {
      const at::Tensor hidden = at::ones({n, m}, q.options().dtype(at::kBool)).triu(1);
      scores = scores.masked_fill(at::cat({at::zeros({n, prefix}, hidden.options()), hidden}, 1),
                                  -std::numeric_limits<double>::infinity());
    }
    at::Tensor probabilities = at::softmax(scores, -1);
    if (args.dropout.active()) {
      probabilities =
          probabilities *
          attention_dropout_mask(args.dropout, *args.queries, b, heads, prefix + m).to(probabilities.options());
    }
    outputs.push_back(at::matmul(probabilities, v_HMD).transpose(0, 1));
  }
  return outputs.empty() ? at::zeros_like(q) : at::cat(outputs);
}

}  // namespace peft
