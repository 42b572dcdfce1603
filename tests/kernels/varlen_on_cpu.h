#pragma once
/// attention_varlen with operators that keep the contract of varlen.h in plain arithmetic: shows on the CPU what stands around the stock
/// CUDA operators.

#include <cmath>
#include <limits>

#include "src/kernels/attention/varlen.h"
#include "tests/kernels/attention_case.h"

namespace peft {

/// One sequence: q [H,n,D], keys and values [H,m,D] with the key heads repeated.
struct OneSequence {
  OneSequence(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const VarlenArgs& a, int64_t b) {
    const auto cu = [](const PackedBatch& rows, int64_t i) { return rows.cu_seqlens()[i].item<int64_t>(); };
    q0 = cu(*a.queries, b);
    n = cu(*a.queries, b + 1) - q0;
    k0 = cu(*a.keys, b);
    m = cu(*a.keys, b + 1) - k0;
    EXPECT_LE(n, a.queries->longest());
    EXPECT_LE(m, a.keys->longest());
    share = q.size(1) / k.size(1);
    queries = of_queries(q);
    keys = k.narrow(0, k0, m).transpose(0, 1).repeat_interleave(share, 0);
    values = v.narrow(0, k0, m).transpose(0, 1).repeat_interleave(share, 0);
    scores = at::matmul(queries, keys.transpose(1, 2)) * a.scale;
    if (a.causal) {
      const at::Tensor hidden = at::ones({n, m}, q.options().dtype(at::kBool)).triu(1 + m - n);
      scores = scores.masked_fill(hidden, -std::numeric_limits<double>::infinity());
    }
    if (a.window > 0) {
      const at::Tensor behind = at::ones({n, m}, q.options().dtype(at::kBool)).tril(m - n - a.window);
      scores = scores.masked_fill(behind, -std::numeric_limits<double>::infinity());
    }
  }
  at::Tensor of_queries(const at::Tensor& x_THD) const { return x_THD.narrow(0, q0, n).transpose(0, 1); }
  at::Tensor of_keys(const at::Tensor& x_HMD) const { return x_HMD.unflatten(0, {-1, share}).sum(1).transpose(0, 1); }

  int64_t q0, n, k0, m, share;
  at::Tensor queries, keys, values, scores;
};

inline const VarlenOps& cpu_varlen_ops() {
  static const VarlenOps ops{
      [](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const VarlenArgs& a) {
        VarlenOut result{at::full(q.sizes(), std::nan(""), q.options()),
                         at::zeros({q.size(1), q.size(0)}, q.options())};
        for (int64_t b = 0; b < a.queries->sequences(); ++b) {
          const OneSequence s(q, k, v, a, b);
          if (s.n == 0 || s.m == 0) continue;
          result.out_THD.narrow(0, s.q0, s.n).copy_(at::matmul(at::softmax(s.scores, -1), s.values).transpose(0, 1));
          result.lse_HT.narrow(1, s.q0, s.n).copy_(at::logsumexp(s.scores, -1));
        }
        return result;
      },
      [](const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& out,
         const at::Tensor& lse_HT, const VarlenArgs& a) {
        EXPECT_FALSE(at::isneginf(lse_HT).any().item<bool>());
        std::array<at::Tensor, 3> result{at::zeros(q.sizes(), q.options()), at::zeros(k.sizes(), k.options()),
                                         at::zeros(v.sizes(), v.options())};
        for (int64_t b = 0; b < a.queries->sequences(); ++b) {
          const OneSequence s(q, k, v, a, b);
          if (s.n == 0 || s.m == 0) continue;
          const at::Tensor p = at::exp(s.scores - lse_HT.narrow(1, s.q0, s.n).unsqueeze(-1)), d = s.of_queries(dout);
          const at::Tensor delta = (d * s.of_queries(out)).sum(-1, true);
          const at::Tensor ds = p * (at::matmul(d, s.values.transpose(1, 2)) - delta) * a.scale;
          result[0].narrow(0, s.q0, s.n).copy_(at::matmul(ds, s.keys).transpose(0, 1));
          result[1].narrow(0, s.k0, s.m).copy_(s.of_keys(at::matmul(ds.transpose(1, 2), s.queries)));
          result[2].narrow(0, s.k0, s.m).copy_(s.of_keys(at::matmul(p.transpose(1, 2), d)));
        }
        return result;
      }};
  return ops;
}

inline at::Tensor attention_varlen_on_cpu(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                          const AttentionArgs& args) {
  return attention_varlen(q, k, v, args, cpu_varlen_ops(), stock_source(args));
}

}  // namespace peft
