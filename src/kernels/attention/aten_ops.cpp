/// The only file that names stock CUDA attention operators. They are called through the dispatcher, so it needs no CUDA header and is part
/// of every build.

#include <ATen/Context.h>
#include <ATen/ops/_efficient_attention_backward.h>
#include <ATen/ops/_efficient_attention_forward.h>
#include <ATen/ops/_flash_attention_backward.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/_scaled_dot_product_cudnn_attention.h>
#include <ATen/ops/_scaled_dot_product_cudnn_attention_backward.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <optional>

#include "src/kernels/attention/varlen.h"

namespace peft {
namespace {

/// flash's default backward adds dQ with atomics; under this setting it has one order.
class Repeatable {
 public:
  Repeatable()
      : algorithms_(at::globalContext().deterministicAlgorithms()),
        warn_only_(at::globalContext().deterministicAlgorithmsWarnOnly()),
        fill_(at::globalContext().deterministicFillUninitializedMemory()) {
    at::globalContext().setDeterministicFillUninitializedMemory(false);
    at::globalContext().setDeterministicAlgorithms(true, false);
  }
  ~Repeatable() {
    at::globalContext().setDeterministicAlgorithms(algorithms_, warn_only_);
    at::globalContext().setDeterministicFillUninitializedMemory(fill_);
  }
  Repeatable(const Repeatable&) = delete;
  Repeatable& operator=(const Repeatable&) = delete;

 private:
  bool algorithms_, warn_only_, fill_;
};

/// Keys to the left of a query's own; none: all.
std::optional<int64_t> left_of_window(const VarlenArgs& a) {
  return a.window > 0 ? std::optional(a.window - 1) : std::nullopt;
}

/// With one query a sequence flash swaps heads into rows and returns another log-sum-exp.
int64_t at_least_two(int64_t longest) { return std::max<int64_t>(longest, 2); }

VarlenOut flash_forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const VarlenArgs& a) {
  auto [out, lse, rng_state, unused, debug] =
      at::_flash_attention_forward(q, k, v, a.cu_q, a.cu_k, at_least_two(a.longest_q), at_least_two(a.longest_k), 0.0,
                                   a.causal, /*return_debug_mask=*/false, a.scale, left_of_window(a));
  return {out, lse};
}

std::array<at::Tensor, 3> flash_backward(const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k,
                                         const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse_HT,
                                         const VarlenArgs& a) {
  const Repeatable scope;
  const at::Tensor no_random = at::empty({2}, q.options().dtype(at::kLong));  // read with dropout only
  auto [dq, dk, dv] = at::_flash_attention_backward(dout, q, k, v, out, lse_HT.contiguous(), a.cu_q, a.cu_k,
                                                    at_least_two(a.longest_q), at_least_two(a.longest_k), 0.0, a.causal,
                                                    no_random, no_random, a.scale, left_of_window(a));
  return {dq, dk, dv};
}

/// The operator's masks: none, or aligned at the end of each sequence.
int64_t mask_type(const VarlenArgs& a) { return a.causal ? 2 : 0; }

/// [T,G,D] as [T,H,D], for operators that know no shared key heads.
at::Tensor repeated_heads(const at::Tensor& x_TGD, int64_t heads) {
  return x_TGD.repeat_interleave(heads / x_TGD.size(1), 1);
}
at::Tensor one_batch(const at::Tensor& x_TGD, int64_t heads) { return repeated_heads(x_TGD, heads).unsqueeze(0); }
/// The sum over the query heads that share a key head.
at::Tensor shared_heads(const at::Tensor& dx_THD, int64_t groups) { return dx_THD.unflatten(1, {groups, -1}).sum(2); }

VarlenOut efficient_forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const VarlenArgs& a) {
  auto [out, lse, seed, offset, max_q, max_k] = at::_efficient_attention_forward(
      q.unsqueeze(0), one_batch(k, q.size(1)), one_batch(v, q.size(1)), std::nullopt, a.cu_q, a.cu_k, a.longest_q,
      a.longest_k, 0.0, mask_type(a), /*compute_log_sumexp=*/true, a.scale);
  return {out.squeeze(0), lse_of_padded(lse, a.cu_q, q.size(0))};
}

std::array<at::Tensor, 3> efficient_backward(const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k,
                                             const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse_HT,
                                             const VarlenArgs& a) {
  constexpr int64_t kPlaces = 32;  // its log-sum-exps are padded to a multiple of this
  const int64_t places = (a.longest_q + kPlaces - 1) / kPlaces * kPlaces;
  const at::Tensor no_random = at::empty({}, q.options().dtype(at::kLong));
  const Repeatable scope;
  auto [dq, dk, dv, dbias] = at::_efficient_attention_backward(
      dout.unsqueeze(0), q.unsqueeze(0), one_batch(k, q.size(1)), one_batch(v, q.size(1)), std::nullopt,
      out.unsqueeze(0), a.cu_q, a.cu_k, a.longest_q, a.longest_k, lse_to_padded(lse_HT, a.cu_q, places), 0.0, no_random,
      no_random, mask_type(a), /*bias_requires_grad=*/false, a.scale);
  return {dq.squeeze(0), shared_heads(dk.squeeze(0), k.size(1)), shared_heads(dv.squeeze(0), v.size(1))};
}

/// A batch of equal lengths is a dense one; cuDNN knows no windows and no sequences of one row. Its causal mask is aligned at the start,
/// ours at the end: the same where both have one length.
bool is_dense(const at::Tensor& q, const at::Tensor& k, const VarlenArgs& a) {
  const int64_t sequences = a.cu_q.size(0) - 1;
  return q.size(0) == sequences * a.longest_q && k.size(0) == sequences * a.longest_k && a.longest_q > 1 &&
         a.longest_k > 1 && a.window == 0 && (!a.causal || a.longest_q == a.longest_k);
}
/// [T,G,D] as [B,H,N,D].
at::Tensor dense(const at::Tensor& x_TGD, int64_t heads, int64_t length) {
  return repeated_heads(x_TGD, heads).unflatten(0, {-1, length}).transpose(1, 2);
}
at::Tensor packed(const at::Tensor& x_BHND) { return x_BHND.transpose(1, 2).flatten(0, 1); }

VarlenOut cudnn_forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const VarlenArgs& a) {
  if (!is_dense(q, k, a)) return flash_forward(q, k, v, a);
  const int64_t heads = q.size(1);
  const auto result = at::_scaled_dot_product_cudnn_attention(
      dense(q, heads, a.longest_q), dense(k, heads, a.longest_k), dense(v, heads, a.longest_k), std::nullopt,
      /*compute_log_sumexp=*/true, 0.0, a.causal, /*return_debug_mask=*/false, a.scale);
  const at::Tensor lse_BHN = std::get<1>(result).squeeze(-1);
  return {packed(std::get<0>(result)).contiguous(), lse_BHN.transpose(0, 1).flatten(1).contiguous()};
}

std::array<at::Tensor, 3> cudnn_backward(const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k,
                                         const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse_HT,
                                         const VarlenArgs& a) {
  if (!is_dense(q, k, a)) return flash_backward(dout, q, k, v, out, lse_HT, a);
  const int64_t heads = q.size(1);
  const at::Tensor lse = lse_HT.unflatten(1, {-1, a.longest_q}).transpose(0, 1).unsqueeze(-1).contiguous(),
                   no_random = at::empty({}, q.options().dtype(at::kLong));
  auto [dq, dk, dv] = at::_scaled_dot_product_cudnn_attention_backward(
      dense(dout, heads, a.longest_q), dense(q, heads, a.longest_q), dense(k, heads, a.longest_k),
      dense(v, heads, a.longest_k), dense(out, heads, a.longest_q), lse, no_random, no_random, /*attn_bias=*/{},
      /*cum_seq_q=*/{}, /*cum_seq_k=*/{}, a.longest_q, a.longest_k, 0.0, a.causal, a.scale);
  const auto key_heads = [&](const at::Tensor& dx) { return shared_heads(packed(dx), k.size(1)); };
  return {packed(dq).contiguous(), key_heads(dk), key_heads(dv)};
}

}  // namespace

const VarlenOps& cudnn_ops() {
  static const VarlenOps ops{cudnn_forward, cudnn_backward};
  return ops;
}

const VarlenOps& flash_ops() {
  static const VarlenOps ops{flash_forward, flash_backward};
  return ops;
}

const VarlenOps& efficient_ops() {
  static const VarlenOps ops{efficient_forward, efficient_backward};
  return ops;
}

}  // namespace peft
