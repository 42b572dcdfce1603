#pragma once
/// Softmax attention over packed sequences, each with its prefix in front, in one pass.
/// No torch, no CUDA header. Tq query rows, Tk key rows, B sequences, P prefix rows, H heads, G key/value heads, D head width.
///
///   s_ij = scale q_i . k_j + bias(j - i)     L_i = log sum_j e^{s_ij}     O_i = sum_j e^{s_ij - L_i} v_j
///   p = e^{s - L}     delta_i = sum_j p_ij dO_i . v_j     ds = p (dO . v - delta)
///   dq_i = scale sum_j ds_ij k_j     dk_j = scale sum_i ds_ij q_i     dv_j = sum_i p_ij dO_i
/// over the pairs of the sequence's prefix, all of which every query sees and which have no bias, and those of its own keys that it sees:
/// causal: j <= i, window W: j > i - W. A query that sees nothing gets O = 0 and L = -inf. Dropout multiplies the probabilities in O and
/// dv, and dO . v_j, by the named masks of attention_chunk(head, of the prefix or not, j); L does not know it.
/// delta is also rowsum(dO * O), but for the rounding of O, which is far off where softmax is nearly one key: here it is the sum over all keys,
/// divided by that of p, if these are all keys. p and ds become 16-bit operands; for gradients of prefixes what that takes from them is
/// multiplied too.
///
/// q, out, dout, dq [Tq,H,D] and k, v, dk, dv [Tk,G,D] as row_items.h has them; prefix tables [K,P,G,D] dense, 16-byte aligned.
/// L, delta float [H,Tq]. Sums are float, results bitwise repeatable, and a sequence's do not depend on its neighbours.

#include "src/kernels/cuda/common/dropout.h"
#include "src/kernels/cuda/prefix_attention/api.h"

namespace peft::cuda {

constexpr bool packed_attention_supports(int width) { return prefix_supports(width); }

/// Rows of a block, forward and for dq; keys of a block for dk and dv.
constexpr int kPackedRows = 64, kPackedKeys = 64;
/// Rows of a sequence, as whole tiles.
constexpr int64_t packed_tiles(int64_t rows) { return (rows + kPackedRows - 1) / kPackedRows * kPackedRows; }

struct PackedSequence {
  int32_t query0, queries, key0, keys;
  int32_t table;  ///< its prefix; -1: none
};

struct PackedWorkList {
  std::vector<PackedSequence> sequences;
  std::vector<RowItem> queries, keys;  ///< of one sequence each, their `group`
  std::vector<RowItem> chunks;         ///< of one prefix table each: PrefixWorkList::chunks
  std::vector<int32_t> first_chunk;    ///< [K+1]
};
/// cu_q, cu_k [B+1]; table [B], increasing from -1 on; `tables` of them. Throws std::invalid_argument where these do not fit.
PackedWorkList packed_work_list(const std::vector<int32_t>& cu_q, const std::vector<int32_t>& cu_k,
                                const std::vector<int32_t>& table, int32_t tables, int width);

struct PackedShape {
  Element type = Element::bfloat16;
  int32_t heads = 1, key_heads = 1, width = 64, prefix = 0, tables = 0;
  int64_t query_rows = 0, key_rows = 0;
  float scale = 1.0F;
  bool causal = false;
  int32_t window = 0;  ///< 0: none
};

/// Of both passes.
struct PackedKeys {
  HeadRows k = {}, v = {};
  const void *prefix_k = nullptr, *prefix_v = nullptr;  ///< [K,P,G,D]
  const PackedSequence* sequences = nullptr;            ///< on the device
  /// [H,bias_span], of the distance j - i at bias_zero + j - i; null: none. It has finite values for whole tiles of queries and keys:
  /// bias_zero is packed_tiles(longest queries), bias_span that and packed_tiles(longest keys).
  const float* bias = nullptr;
  int32_t bias_zero = 0, bias_span = 0;
  NamedDropout dropout = {};  ///< of the probabilities; a row for each query
};

struct PackedForward {
  PackedShape shape = {};
  PackedKeys keys = {};
  HeadRows q = {}, out = {};
  float* lse = nullptr;            ///< [H,Tq]
  const RowItem* items = nullptr;  ///< PackedWorkList::queries, on the device
  int32_t item_count = 0;
};
int packed_attention_forward(const PackedForward& args, void* stream);

/// Launches: queries, keys, and for prefixes those of prefix_attention. Gradients are written, not added to.
struct PackedBackward {
  PackedShape shape = {};
  PackedKeys keys = {};
  HeadRows dout = {}, q = {}, out = {}, dq = {}, dk = {}, dv = {};
  const float* lse = nullptr;                        ///< [H,Tq]
  float* delta = nullptr;                            ///< [H,Tq], written
  bool merged = false;  ///< out and lse are of more than these keys: delta is rowsum(dO * O), no sum over these
  float *dprefix_k = nullptr, *dprefix_v = nullptr;  ///< [K,P,G,D]
  float* partial = nullptr;  ///< [chunk_count,H,prefix_partial_floats], scratch, 16-byte aligned
  const RowItem *queries = nullptr, *key_items = nullptr, *chunks = nullptr;  ///< of the work list, on the device
  const int32_t* first_chunk = nullptr;
  int32_t query_count = 0, key_count = 0, chunk_count = 0;
};
int packed_attention_backward(const PackedBackward& args, void* stream);

}  // namespace peft::cuda
