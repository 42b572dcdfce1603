#pragma once
/// Prefix keys and values of every adapter merged into softmax attention, forward and backward (docs/kernels.md#merging-parts).
/// No torch, no CUDA header. T rows, K adapters, P prefix rows, H heads, G key/value heads, D head width.
///
///   s_j = scale q . Pk_j, j < length     L = log(e^{L_s} + sum_j e^{s_j})     O = e^{L_s - L} O_s + sum_j e^{s_j - L} Pv_j
///   p_j = e^{s_j - L}     delta = e^{L_s - L} rowsum(dO * O_s) + sum_j p_j dO . Pv_j     ds_j = p_j (dO . Pv_j - delta)
///   dq = dq_s + scale sum_j ds_j Pk_j     dPk_j = scale sum over the adapter's rows of ds_j q     dPv_j = sum of p_j dO
/// O_s and L_s are the softmax part's; dq_s is its gradient from the merged O and L. Every row sees the whole prefix of its adapter.
/// delta is also rowsum(dO * O), but for the rounding of O, which is far off where a pair takes nearly all of a row; the sum is divided by that
/// of its weights. p and ds become 16-bit operands; for dPk and dPv what that takes from them is multiplied too.
///
/// A row without keys has L_s = -inf (or +inf, as flash attention writes it). Rows without an adapter come first; they and those of an
/// adapter with length 0 keep O_s, L_s and dq_s. Prefix rows from `length` on are not read, and their gradient is 0. A prefix for each
/// sequence (dropout of prefix rows) is a group for each sequence.
///
/// Tensors [T,H,D] as row_items.h has them; Pk, Pv [K,P,G,D] dense, 16-byte aligned. L, delta float [H,T]. Sums are float, results bitwise
/// repeatable, and a group's do not depend on its neighbours.

#include "src/kernels/cuda/common/row_items.h"
#include "src/kernels/cuda/common/status.h"

namespace peft::cuda {

constexpr bool prefix_supports(int width) {
  return width == 32 || width == 64 || width == 80 || width == 96 || width == 128;
}

/// Rows of a block: forward; backward for dq; backward for dPk and dPv.
constexpr int prefix_forward_rows(int width) { return width <= 80 ? 128 : 64; }
constexpr int prefix_query_rows(int) { return 64; }
constexpr int prefix_chunk_rows(int) { return 512; }

struct PrefixWorkList {
  std::vector<RowItem> forward, queries, chunks;
  std::vector<int32_t> first_chunk;  ///< [K+1], of each adapter
};
PrefixWorkList prefix_work_list(const std::vector<int32_t>& group_rows, int width);

struct PrefixShape {
  Element type = Element::bfloat16;
  int32_t groups = 1, heads = 1, key_heads = 1, width = 64, prefix = 0;
  int64_t rows = 0;
  float scale = 1.0F;
};

/// Of both passes.
struct PrefixKeys {
  const void *k = nullptr, *v = nullptr;  ///< [K,P,G,D]
  const int32_t* length = nullptr;        ///< [K] on the device, at most P; null: all P
};

struct PrefixForward {
  PrefixShape shape = {};
  PrefixKeys keys = {};
  HeadRows q = {}, self = {}, out = {};  ///< self: O_s
  const float* self_lse = nullptr;       ///< [H,T]
  float* lse = nullptr;                  ///< [H,T]
  const RowItem* items = nullptr;        ///< PrefixWorkList::forward, on the device
  int32_t item_count = 0;
};
int prefix_attention_forward(const PrefixForward& args, void* stream);

constexpr int64_t prefix_partial_floats(int prefix, int width) { return int64_t{2} * prefix * width; }

/// Three launches: queries, keys, then the sum of the chunks.
struct PrefixBackward {
  PrefixShape shape = {};
  PrefixKeys keys = {};
  HeadRows dout = {}, q = {}, self = {}, out = {}, dq = {};  ///< self: O_s; dq: in dq_s, out dq
  const float *self_lse = nullptr, *lse = nullptr;           ///< [H,T]
  float* delta = nullptr;                                    ///< [H,T], written
  float *dk = nullptr, *dv = nullptr;                        ///< [K,P,G,D]: written, not added to
  float* partial = nullptr;          ///< [chunk_count,H,prefix_partial_floats], scratch, 16-byte aligned
  const RowItem* queries = nullptr;  ///< PrefixWorkList::queries, on the device
  const RowItem* chunks = nullptr;
  const int32_t* first_chunk = nullptr;
  int32_t query_count = 0, chunk_count = 0;
};
int prefix_attention_backward(const PrefixBackward& args, void* stream);

}  // namespace peft::cuda
