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

#include "src/kernels/attention/dense.h"

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

at::Tensor one_batch(const at::Tensor& x_TGD, int64_t heads) { return repeated_heads(x_TGD, heads).unsqueeze(0); }

constexpr int64_t kEfficientPlaces = 32;  // its log-sum-exps are padded to a multiple of this

/// A bias is known to it in dense batches only.
const DenseOps kEfficientDense{
    .forward =
        [](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const DenseArgs& a) {
          auto [out, lse, seed, offset, max_q, max_k] = at::_efficient_attention_forward(
              q, k, v, a.bias_BHNM, std::nullopt, std::nullopt, std::nullopt, std::nullopt, 0.0, a.causal ? 1 : 0,
              /*compute_log_sumexp=*/true, a.scale);
          return DenseOut{out, lse};
        },
    .backward =
        [](const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& out,
           const at::Tensor& lse, const DenseArgs& a) {
          const at::Tensor no_random = at::empty({}, q.options().dtype(at::kLong));
          const Repeatable scope;
          auto [dq, dk, dv, dbias] = at::_efficient_attention_backward(
              dout, q, k, v, a.bias_BHNM, out, std::nullopt, std::nullopt, q.size(1), k.size(1), lse, 0.0, no_random,
              no_random, a.causal ? 1 : 0, /*bias_requires_grad=*/false, a.scale);
          return std::array{dq, dk, dv};
        },
    .multiple = kEfficientPlaces};

VarlenOut efficient_forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const VarlenArgs& a) {
  if (a.bias_HNM.defined()) return dense_forward(kEfficientDense, q, k, v, a);
  auto [out, lse, seed, offset, max_q, max_k] = at::_efficient_attention_forward(
      q.unsqueeze(0), one_batch(k, q.size(1)), one_batch(v, q.size(1)), std::nullopt, a.cu_q, a.cu_k, a.longest_q,
      a.longest_k, 0.0, mask_type(a), /*compute_log_sumexp=*/true, a.scale);
  return {out.squeeze(0), lse_of_padded(lse, a.cu_q, q.size(0))};
}

std::array<at::Tensor, 3> efficient_backward(const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k,
                                             const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse_HT,
                                             const VarlenArgs& a) {
  if (a.bias_HNM.defined()) return dense_backward(kEfficientDense, dout, q, k, v, out, lse_HT, a);
  const int64_t places = (a.longest_q + kEfficientPlaces - 1) / kEfficientPlaces * kEfficientPlaces;
  const at::Tensor no_random = at::empty({}, q.options().dtype(at::kLong));
  const Repeatable scope;
  auto [dq, dk, dv, dbias] = at::_efficient_attention_backward(
      dout.unsqueeze(0), q.unsqueeze(0), one_batch(k, q.size(1)), one_batch(v, q.size(1)), std::nullopt,
      out.unsqueeze(0), a.cu_q, a.cu_k, a.longest_q, a.longest_k, lse_to_padded(lse_HT, a.cu_q, places), 0.0, no_random,
      no_random, mask_type(a), /*bias_requires_grad=*/false, a.scale);
  return {dq.squeeze(0), shared_heads(dk.squeeze(0), k.size(1)), shared_heads(dv.squeeze(0), v.size(1))};
}

/// Batches of equal lengths go to cuDNN, which knows no windows and no sequences of one row. Under a causal mask a prefix makes a square of
/// them: rows of zeros stand in front of the queries.
bool is_dense(const at::Tensor& q, const at::Tensor& k, const VarlenArgs& a) {
  const int64_t sequences = a.cu_q.size(0) - 1;
  return q.size(0) == sequences * a.longest_q && k.size(0) == sequences * a.longest_k && a.longest_q > 1 &&
         a.longest_k > 1 && a.window == 0;
}

/// [B,N,H,D] as [B,H,N,D] and back.
at::Tensor by_head(const at::Tensor& x) { return x.transpose(1, 2); }

const DenseOps kCudnnDense{
    .forward =
        [](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const DenseArgs& a) {
          const auto result = at::_scaled_dot_product_cudnn_attention(by_head(q), by_head(k), by_head(v), std::nullopt,
                                                                      /*compute_log_sumexp=*/true, 0.0, a.causal,
                                                                      /*return_debug_mask=*/false, a.scale);
          return DenseOut{by_head(std::get<0>(result)), std::get<1>(result).squeeze(-1)};
        },
    .backward =
        [](const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& out,
           const at::Tensor& lse, const DenseArgs& a) {
          const at::Tensor no_random = at::empty({}, q.options().dtype(at::kLong));
          auto [dq, dk, dv] = at::_scaled_dot_product_cudnn_attention_backward(
              by_head(dout), by_head(q), by_head(k), by_head(v), by_head(out), lse.unsqueeze(-1), no_random, no_random,
              /*attn_bias=*/{}, /*cum_seq_q=*/{}, /*cum_seq_k=*/{}, q.size(1), k.size(1), 0.0, a.causal, a.scale);
          return std::array{by_head(dq), by_head(dk), by_head(dv)};
        }};

VarlenOut cudnn_forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const VarlenArgs& a) {
  return is_dense(q, k, a) ? dense_forward(kCudnnDense, q, k, v, a) : flash_forward(q, k, v, a);
}

std::array<at::Tensor, 3> cudnn_backward(const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k,
                                         const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse_HT,
                                         const VarlenArgs& a) {
  return is_dense(q, k, a) ? dense_backward(kCudnnDense, dout, q, k, v, out, lse_HT, a)
                           : flash_backward(dout, q, k, v, out, lse_HT, a);
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
