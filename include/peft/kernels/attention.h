#pragma once
/// Attention over packed sequences with an optional extra key/value source, merged exactly by log-sum-exp (kernels.md 1.2, 1.3).
/// Tq query rows, Tk key rows, B sequences, H heads, G key/value heads (query head h uses h / (H/G)), D head width, K adapters, P prefix
/// pairs.

#include <ATen/core/Tensor.h>

#include "peft/kernels/attention_implementation.h"
#include "peft/kernels/dropout.h"
#include "peft/kernels/state.h"
#include "peft/tensor/packed_batch.h"

namespace peft {

/// P trained key/value pairs per adapter, visible to every query of its sequences, also under a causal mask. [Li and Liang 2021]
struct PrefixKV {
  at::Tensor k_KPGD, v_KPGD;
  bool per_sequence = false;  ///< tables of each sequence instead of each adapter (dropout on the prefix): [B,P,G,D]
  bool defined() const { return k_KPGD.defined(); }
};

struct AttentionArgs {
  Batch queries;  ///< sequence b of the queries attends to sequence b of the keys
  Batch keys;
  double scale = 1.0;    ///< always explicit (T5: 1)
  bool causal = false;   ///< query i of a sequence sees keys 0..i; needs equal query and key lengths
  PrefixKV prefix = {};  ///< a prefix or a state, never both
  LinearState state = {};
  DropoutSite dropout = {};  ///< on the probabilities; where active, they are formed explicitly
  AttentionImplementation implementation = AttentionImplementation::automatic;
};

/// softmax(scale q [Kpre_k ; k_b]^T) [Vpre_k ; v_b] for every sequence b of adapter k.     q [Tq,H,D], k, v [Tk,G,D] -> [Tq,H,D]
/// with `prefix`, or the formula of state.h with `state`. Differentiable in q, k, v, the prefix, and z and den of the state. A row
/// without any visible key or state gives zeros. Float32, float64, bfloat16 and half. Throws ConfigError when `implementation` does not serve
/// this type, width or device.
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionArgs& args);

/// The same by explicit concatenation, one sequence at a time, in plain differentiable operations: the oracle of the tests and the
/// route of devices without a backend of their own.
at::Tensor attention_reference(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const AttentionArgs& args);

/// What serves calls without dropout on this device, for the log. Throws as attention() does.
std::string attention_backend(AttentionImplementation implementation, at::Device device, at::ScalarType type,
                              int64_t width);

}  // namespace peft
