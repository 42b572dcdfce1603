/// The only file that names stock CUDA attention operators. They are called through the dispatcher, so it needs no CUDA header and is part
/// of every build.

#include <ATen/Context.h>
#include <ATen/ops/_efficient_attention_backward.h>
#include <ATen/ops/_efficient_attention_forward.h>
#include <ATen/ops/_flash_attention_backward.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/_scaled_dot_product_cudnn_attention.h>
#include <ATen/ops/_scaled_dot_product_cudnn_attention_backward.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <limits>
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
  auto [out, lse, rng_state, unused, debug] = at::_flash_attention_forward(
      q, k, v, a.queries->cu_seqlens(), a.keys->cu_seqlens(), at_least_two(a.queries->longest()),
      at_least_two(a.keys->longest()), 0.0, a.causal, /*return_debug_mask=*/false, a.scale, left_of_window(a));
  return {out, lse};
}

std::array<at::Tensor, 3> flash_backward(const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k,
                                         const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse_HT,
                                         const VarlenArgs& a) {
  const Repeatable scope;
  const at::Tensor no_random = at::empty({2}, q.options().dtype(at::kLong));  // read with dropout only
  auto [dq, dk, dv] = at::_flash_attention_backward(dout, q, k, v, out, lse_HT.contiguous(), a.queries->cu_seqlens(),
                                                    a.keys->cu_seqlens(), at_least_two(a.queries->longest()),
                                                    at_least_two(a.keys->longest()), 0.0, a.causal, no_random,
                                                    no_random, a.scale, left_of_window(a));
  return {dq, dk, dv};
}

/// The operator's masks: none, or aligned at the end of each sequence.
int64_t mask_type(const VarlenArgs& a) { return a.causal ? 2 : 0; }

at::Tensor one_batch(const at::Tensor& x_TGD, int64_t heads) { return repeated_heads(x_TGD, heads).unsqueeze(0); }

/// Its log-sum-exps have whole multiples of 32 places.
int64_t efficient_places(int64_t rows) { return (rows + 31) / 32 * 32; }

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
          const at::Tensor padded = at::constant_pad_nd(lse, {0, efficient_places(q.size(1)) - q.size(1)},
                                                        std::numeric_limits<double>::infinity());
          const Repeatable scope;
          auto [dq, dk, dv, dbias] = at::_efficient_attention_backward(
              dout, q, k, v, a.bias_BHNM, out, std::nullopt, std::nullopt, q.size(1), k.size(1), padded, 0.0, no_random,
              no_random, a.causal ? 1 : 0, /*bias_requires_grad=*/false, a.scale);
          return std::array{dq, dk, dv};
        }};

VarlenOut efficient_forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const VarlenArgs& a) {
  if (a.bias_HS.defined()) return dense_forward(kEfficientDense, q, k, v, a);
  auto [out, lse, seed, offset, max_q, max_k] =
      at::_efficient_attention_forward(q.unsqueeze(0), one_batch(k, q.size(1)), one_batch(v, q.size(1)), std::nullopt,
                                       a.queries->cu_seqlens(), a.keys->cu_seqlens(), a.queries->longest(),
                                       a.keys->longest(), 0.0, mask_type(a), /*compute_log_sumexp=*/true, a.scale);
  return {out.squeeze(0), lse_of_padded(lse, a.queries)};
}

std::array<at::Tensor, 3> efficient_backward(const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k,
                                             const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse_HT,
                                             const VarlenArgs& a) {
  if (a.bias_HS.defined()) return dense_backward(kEfficientDense, dout, q, k, v, out, lse_HT, a);
  const int64_t places = efficient_places(a.queries->longest());
  const at::Tensor no_random = at::empty({}, q.options().dtype(at::kLong));
  const Repeatable scope;
  auto [dq, dk, dv, dbias] = at::_efficient_attention_backward(
      dout.unsqueeze(0), q.unsqueeze(0), one_batch(k, q.size(1)), one_batch(v, q.size(1)), std::nullopt,
      out.unsqueeze(0), a.queries->cu_seqlens(), a.keys->cu_seqlens(), a.queries->longest(), a.keys->longest(),
      lse_to_padded(lse_HT, a.queries, places), 0.0, no_random, no_random, mask_type(a), /*bias_requires_grad=*/false,
      a.scale);
  return {dq.squeeze(0), shared_heads(dk.squeeze(0), k.size(1)), shared_heads(dv.squeeze(0), v.size(1))};
}

/// Batches of equal lengths go to cuDNN, which knows no windows and no sequences of one row. Under a causal mask a prefix makes a square of
/// them, rows of zeros standing in front of the queries, while it is short enough for that (docs/kernels.md#attention-routes).
bool is_dense(const VarlenArgs& a) {
  const auto equal = [](const PackedBatch& rows) {
    return rows.longest() > 1 && rows.rows() == rows.sequences() * rows.longest();
  };
  return equal(*a.queries) && equal(*a.keys) && a.window == 0 &&
         (!a.causal || 4 * (a.keys->longest() - a.queries->longest()) <= a.queries->longest());
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
          // Only the square's rows of zeros have +inf: with any finite number every term of theirs is 0 times something
          // finite.
          const at::Tensor finite = lse.masked_fill(lse.isinf(), 0.0).unsqueeze(-1);
          auto [dq, dk, dv] = at::_scaled_dot_product_cudnn_attention_backward(
              by_head(dout), by_head(q), by_head(k), by_head(v), by_head(out), finite, no_random, no_random,
              /*attn_bias=*/{}, /*cum_seq_q=*/{}, /*cum_seq_k=*/{}, q.size(1), k.size(1), 0.0, a.causal, a.scale);
          return std::array{by_head(dq), by_head(dk), by_head(dv)};
        }};

VarlenOut cudnn_forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const VarlenArgs& a) {
  return is_dense(a) ? dense_forward(kCudnnDense, q, k, v, a) : flash_forward(q, k, v, a);
}

std::array<at::Tensor, 3> cudnn_backward(const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k,
                                         const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse_HT,
                                         const VarlenArgs& a) {
  return is_dense(a) ? dense_backward(kCudnnDense, dout, q, k, v, out, lse_HT, a)
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
