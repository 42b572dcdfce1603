#pragma once
/// Keys and values of attention with a prefix: in front of every sequence's own rows come the prefix rows of its adapter, or
/// its own ones, and rotary positions are applied on the way. Stock varlen attention then runs on the result. No torch, no CUDA header.
///      [Li and Liang 2021, arXiv:2101.00190; Su et al. 2021, arXiv:2104.09864]
///
///   forward    keys = [prefix_k(table of b); k_b],  values = [prefix_v(table of b); v_b] for every sequence b      [B P + T, G, D]
///              rotated at position p, as transformers' Llama does:  (x1, x2) -> (x1 cos p - x2 sin p, x2 cos p + x1 sin p) of a head's
///              two halves;  q_out = rotated q;  prefix keys rotated or not
///   backward   dk, dv (and dq) = their rows, rotated back;  dprefix(table) = sum over the table's sequences of their prefix rows, in float32
///
/// B sequences, T rows, K adapters, H query heads, G key/value heads, D head width, P rows of a prefix table. A table is an adapter's
/// [K,P,G,D] or, with prefix dropout, a sequence's [B,P,G,D]. Adapters may use fewer than P rows. q, k, v and their gradients are slices
/// of one fused [T, (H + 2 G) D] or anything else with contiguous heads: row strides in elements. Copies are bitwise; sums have a fixed
/// order; no atomics.
/// D a multiple of 8, with rotation of 16; strides multiples of 8; pointers 16-byte aligned. bfloat16, half and float32.

#include <cstdint>
#include <limits>
#include <vector>

#include "src/kernels/cuda/common/element.h"

namespace peft::cuda {

/// Where a row of keys and values comes from.
struct KvRow {
  int32_t source;    ///< row of k and v; ~(table P + j): row j of a table; kNoKvRow: the row belongs to no sequence
  int32_t position;  ///< of the rotation; -1: none
};
constexpr int32_t kNoKvRow = std::numeric_limits<int32_t>::min();

/// At most kKvSumSequences sequences that share a table, entries [first, first + count) of KvPlan::prefix_begin: the work of a block for each
/// of the table's rows. count = 0: nothing to do.
struct KvSum {
  int32_t table, first, count;
};
constexpr int32_t kKvSumSequences = 8;

struct KvPlanInput {
  std::vector<int32_t> cu;             ///< [B+1]
  std::vector<int32_t> adapter;        ///< [B], -1: no adapter, no prefix
  std::vector<int32_t> prefix_length;  ///< [K], each at most `prefix`
  int32_t prefix = 0;                  ///< P
  bool per_sequence = false;           ///< tables of sequences instead of adapters
  bool rotate_prefix = false;          ///< prefix keys at positions 0, 1, ...
  bool text_after_prefix = false;      ///< a sequence's own rows start at position length of its prefix instead of 0
  std::vector<int32_t> position = {};  ///< [T] of the own rows; empty: counted in each sequence
};

/// Sizes depend on B, T, P and K alone: one graph serves every batch.
struct KvPlan {
  std::vector<int32_t>
      cu_k;  ///< [B+1]: cu + b P when every sequence has rows and a whole prefix; a sequence without rows has no keys
  std::vector<KvRow> rows;            ///< [B P + T]; the last ones may belong to no sequence and are not written
  std::vector<KvSum> sums;            ///< [ceil(B / 8) + tables]
  std::vector<int32_t> first_sum;     ///< [tables + 1]
  std::vector<int32_t> prefix_begin;  ///< [B], by table: row of the first prefix row of a sequence
  std::vector<int32_t> length;        ///< [tables]
  int32_t positions = 0;              ///< rows that cos and sin must have
};
/// Throws std::invalid_argument when offsets decrease or the sizes do not fit together.
KvPlan kv_plan(const KvPlanInput& input);

struct KvShape {
  Element type;
  int32_t heads, kv_heads, width, prefix;  ///< H, G, D, P
};

struct KvAssembly {
  KvShape shape;
  const void *q, *k, *v;
  int64_t q_stride, k_stride, v_stride;
  const void *prefix_k, *prefix_v;  ///< [tables, P, G, D]
  void* q_out;                      ///< written with rotation only; may be q
  int64_t q_out_stride;
  void *keys, *values;     ///< [row_count, G, D]
  const float *cos, *sin;  ///< [positions, D / 2]; null: no rotation
  const KvRow* rows;
  int32_t row_count;
};

struct KvAssemblyBackward {
  KvShape shape;
  const void* dq_out;  ///< of the rotated q; read with rotation only
  int64_t dq_out_stride;
  const void *dkeys, *dvalues;  ///< [row_count, G, D]
  void *dq, *dk, *dv;           ///< dk null: no gradient of q, k, v is wanted; dq may be dq_out
  int64_t dq_stride, dk_stride, dv_stride;
  float *dprefix_k, *dprefix_v;  ///< [tables, P, G, D]; null: none is wanted
  bool accumulate;               ///< adds to what they hold
  bool rotate_prefix;
  const float *cos, *sin;
  const KvRow* rows;
  const KvSum* sums;
  const int32_t *first_sum, *prefix_begin, *length;
  int32_t row_count, sum_count, tables;
  float* partial;  ///< [sum_count, P, 2, G, D], scratch
};

/// 0, or CUDA's error number; cudaErrorInvalidValue (1) for widths, strides or pointers that 16-byte accesses cannot serve.
int kv_assembly(const KvAssembly& assembly, void* stream);
int kv_assembly_backward(const KvAssemblyBackward& assembly, void* stream);

}  // namespace peft::cuda
