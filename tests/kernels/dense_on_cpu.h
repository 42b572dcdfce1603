#pragma once
/// attention_varlen by a dense operator that keeps the contract of dense.h in plain arithmetic.

#include "src/kernels/attention/dense.h"
#include "tests/kernels/varlen_on_cpu.h"

namespace peft {

inline at::Tensor dense_scores(const at::Tensor& q_BNHD, const at::Tensor& k_BMHD, const DenseArgs& a) {
  at::Tensor scores = at::einsum("bnhd,bmhd->bhnm", {q_BNHD, k_BMHD}) * a.scale;
  if (a.bias_BHNM.defined()) {
    EXPECT_EQ(a.bias_BHNM.sizes(), scores.sizes());
    EXPECT_EQ(a.bias_BHNM.stride(3), 1);
    for (const int dim : {0, 1, 2}) EXPECT_EQ(a.bias_BHNM.stride(dim) % 16, 0);
    scores = scores + a.bias_BHNM;
  }
  if (!a.causal) return scores;
  EXPECT_EQ(scores.size(2), scores.size(3));
  const at::Tensor hidden = at::ones({scores.size(2), scores.size(3)}, scores.options().dtype(at::kBool)).triu(1);
  return scores.masked_fill(hidden, -std::numeric_limits<double>::infinity());
}

inline const DenseOps& cpu_dense_ops() {
  static const DenseOps ops{
      .forward =
          [](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const DenseArgs& a) {
            const at::Tensor scores = dense_scores(q, k, a);
            return DenseOut{at::einsum("bhnm,bmhd->bnhd", {at::softmax(scores, -1), v}), at::logsumexp(scores, -1)};
          },
      .backward =
          [](const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
             const at::Tensor& out, const at::Tensor& lse, const DenseArgs& a) {
            const at::Tensor p = at::exp(dense_scores(q, k, a) - lse.unsqueeze(-1));
            const at::Tensor delta = (dout * out).sum(-1).transpose(1, 2).unsqueeze(-1),
                             ds = p * (at::einsum("bnhd,bmhd->bhnm", {dout, v}) - delta) * a.scale;
            return std::array{at::einsum("bhnm,bmhd->bnhd", {ds, k}), at::einsum("bhnm,bnhd->bmhd", {ds, q}),
                              at::einsum("bhnm,bnhd->bmhd", {p, dout})};
          }};
  return ops;
}

inline const VarlenOps& cpu_dense_varlen_ops() {
  static const VarlenOps ops{[](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const VarlenArgs& a) {
                               return dense_forward(cpu_dense_ops(), q, k, v, a);
                             },
                             [](const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                const at::Tensor& out, const at::Tensor& lse, const VarlenArgs& a) {
                               return dense_backward(cpu_dense_ops(), dout, q, k, v, out, lse, a);
                             }};
  return ops;
}

inline at::Tensor attention_dense_on_cpu(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                         const AttentionArgs& args) {
  return attention_varlen(q, k, v, args, cpu_dense_varlen_ops(), stock_source(args));
}

}  // namespace peft
