#pragma once
/// Attention over packed sequences with an optional extra key/value source, merged exactly by log-sum-exp
/// (docs/kernels.md#interface, docs/kernels.md#merging-parts).
/// Tq query rows, Tk key rows, B sequences, H heads, G key/value heads (query head h uses h / (H/G)), D head width, K adapters, P prefix
/// pairs.

#include <ATen/core/Tensor.h>

#include "peft/kernels/attention_implementation.h"
#include "peft/kernels/dropout.h"
#include "peft/kernels/state.h"
#include "peft/tensor/packed_batch.h"

namespace peft {

/// P trained key/value pairs per adapter, visible to every query of its sequences, also under a causal mask. Their
/// positions are the P in front of the sequence's first key. [Li and Liang 2021]
struct PrefixKV {
  at::Tensor k_KPGD, v_KPGD;
  bool per_sequence = false;  ///< tables of each sequence instead of each adapter (dropout on the prefix): [B,P,G,D]
  bool defined() const { return k_KPGD.defined(); }
};

/// A bias per head that depends on how far a key is from the query, in buckets, as T5 has it [Raffel et al. 2020, arXiv:1910.10683].
struct RelativeBias {
  at::Tensor table_NH = {};  ///< [buckets,H]
  bool bidirectional = true;
  int64_t max_distance = 128;
  bool covers_prefix =
      false;  ///< prefix pairs stand at positions 0..P-1, everything else behind them; else they have no bias
  bool defined() const { return table_NH.defined(); }
};

/// Bucket of each key position minus query position, as transformers' T5 numbers them.
at::Tensor relative_buckets(const at::Tensor& distance, bool bidirectional, int64_t buckets, int64_t max_distance);

struct AttentionArgs {
  Batch queries;  ///< sequence b of the queries attends to sequence b of the keys
  Batch keys;
  double scale = 1.0;    ///< always explicit (T5: 1)
  bool causal = false;   ///< a query sees the keys of its own position and before, whatever the lengths
  int64_t window = 0;    ///< a query sees the last `window` keys up to its own position, 0: all
  PrefixKV prefix = {};  ///< a prefix or a state, never both
  LinearState state = {};
  DropoutSite dropout = {};  ///< on the probabilities; kernels other than packed_attention then form them explicitly
  AttentionImplementation implementation = AttentionImplementation::automatic;
  RelativeBias bias = {};
};

/// softmax(scale q [Kpre_k ; k_b]^T) [Vpre_k ; v_b] for every sequence b of adapter k.     q [Tq,H,D], k, v [Tk,G,D] -> [Tq,H,D]
/// with `prefix`, or the formula of state.h with `state`. A row without any visible key or state gives zeros. Float32, float64, bfloat16
/// and half. Differentiable in q, k, v, the prefix, z and den of the state, and the table of the bias. Throws ConfigError when
/// `implementation` does not serve this type, width or device.
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionArgs& args);

/// The same by explicit concatenation, one sequence at a time, in plain differentiable operations: the oracle of the tests and the
/// route of devices without a backend of their own.
at::Tensor attention_reference(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const AttentionArgs& args);

/// What serves calls without dropout, position bias and window on this device, for the log. Throws as attention() does.
std::string attention_backend(AttentionImplementation implementation, at::Device device, at::ScalarType type,
                              int64_t width);

}  // namespace peft
