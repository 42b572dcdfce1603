#pragma once
/// Attention over packed sequences on the CPU, forward and backward, blocked so that scores never leave the cache. No torch. Private to
/// src/kernels.
///
///   s_ij = scale q_i . k_j + bias(position_j - position_i)     p = softmax(s)     o_i = sum_j mask_ij p_ij v_j
///
/// over the pairs of the sequence's prefix, then its own keys. Work comes in units of some sequences and one key head, each of which only
/// one thread touches: results do not depend on threads, nor on the other sequences of a batch.
/// B sequences, H heads, G key heads, S = H / G, D head width, P prefix pairs.

#include "src/kernels/cpu/element.h"
#include "src/kernels/cpu/mask_names.h"

namespace peft::cpu {

/// Row t of head h begins at data + t * row + h * head (numbers); its D numbers lie one after another.
struct HeadRows {
  const void* data = nullptr;
  int64_t row = 0, head = 0;
};

struct PackedSequence {
  int64_t first_query = 0, queries = 0, first_key = 0, keys = 0;  ///< rows
  int64_t query_start = 0, key_start = 0;                         ///< added to a row's index: its position
  int64_t adapter = 0, table = 0;                                 ///< of its dropout; of its prefix
  uint32_t ordinal = 0;                                           ///< names its dropout masks
};

/// Sequences [first, last) of one prefix table.
struct SequenceRange {
  int64_t first = 0, last = 0;
};

struct PackedAttention {
  Element element = Element::f32;
  int64_t heads = 1, key_heads = 1, width = 1;
  const PackedSequence* sequences = nullptr;
  const SequenceRange* ranges = nullptr;
  const int64_t *query_index = nullptr, *key_index = nullptr;  ///< of all rows, ascending in a sequence
  double scale = 1.0;
  bool causal = false;
  int64_t window = 0;  ///< 0: none
  HeadRows q, k, v;

  int64_t prefix = 0;                                   ///< P
  const void *prefix_k = nullptr, *prefix_v = nullptr;  ///< [tables,P,G,D], of the element

  /// In the type of sums, [H, span + kBiasMargin]: that of a position difference d at zero + d. The margin may hold anything.
  const void* bias = nullptr;
  int64_t span = 0, zero = 0;
  bool bias_of_prefix = false;

  const MaskNames* masks = nullptr;  ///< [K]; null: no dropout
};
constexpr int64_t kBiasMargin = 64;

/// Sums are float64 for float64, else float32.
struct AttentionResult {
  void* out = nullptr;  ///< [Tq,H,D], of the element
  void* lse = nullptr;  ///< [Tq,H], log-sum-exp of the scores, -infinity without keys; of sums
};

struct AttentionGradients {
  HeadRows dout, out;         ///< of the element; out, lse: of the whole softmax, a merged state included
  const void* lse = nullptr;  ///< [Tq,H]
  bool wide_dq = false;       ///< dq in the type of sums
  void *dq = nullptr, *dk = nullptr, *dv = nullptr;  ///< [Tq,H,D], [Tk,G,D], of the element
  void *dprefix_k = nullptr, *dprefix_v = nullptr;   ///< [ranges,P,G,D] in the type of sums
  void* dbias = nullptr;                             ///< [ranges,buckets,H] in the type of sums
  const int32_t* buckets_of = nullptr;               ///< [span]
  int64_t buckets = 0;
};

/// One unit: range r and key head g.
struct PackedAttentionKernel {
  void (*forward)(const PackedAttention&, const AttentionResult&, int64_t range, int64_t key_head);
  void (*backward)(const PackedAttention&, const AttentionGradients&, int64_t range, int64_t key_head);
};

}  // namespace peft::cpu
