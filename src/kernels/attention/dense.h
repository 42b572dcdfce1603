#pragma once
/// Packed sequences for operators of dense batches: pads them to [B,N]. Padding is masked out.
/// Private to src/kernels.

#include <array>

#include "src/kernels/attention/varlen.h"

namespace peft {

/// N places for the queries of a sequence, M for its keys. Sequences begin at place 0; under a causal mask queries stand in the places of
/// their own keys, behind those of a prefix, in a square.
struct DensePlaces {
  int64_t queries = 0, keys = 0;
  int64_t first_query = 0;
};
DensePlaces dense_places(const VarlenArgs& args);

struct DenseArgs {
  double scale = 1.0;
  bool causal = false;  ///< of a square: place n sees places 0..n
  /// Added to the scores, one for all sequences by a stride of 0, rows on 16 bytes; undefined: none.
  at::Tensor bias_BHNM;
};
struct DenseOut {
  at::Tensor out_BNHD, lse_BHN;  ///< N or more log-sum-exps
};
/// All heads have keys and values of their own. A query with lse = +inf has no part in any gradient. Keys may be wider than values.
struct DenseOps {
  DenseOut (*forward)(const at::Tensor& q_BNHD, const at::Tensor& k_BMHD, const at::Tensor& v_BMHD,
                      const DenseArgs& args);
  std::array<at::Tensor, 3> (*backward)(const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k,
                                        const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse_BHN,
                                        const DenseArgs& args);
};

/// What VarlenOps asks for, by a dense operator.
VarlenOut dense_forward(const DenseOps& ops, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                        const VarlenArgs& args);
std::array<at::Tensor, 3> dense_backward(const DenseOps& ops, const at::Tensor& dout, const at::Tensor& q,
                                         const at::Tensor& k, const at::Tensor& v, const at::Tensor& out,
                                         const at::Tensor& lse_HT, const VarlenArgs& args);

/// Puts args.bias into `shape`, whose keys may have those of a prefix in front of those of args: a line of the distances that occur, in the
/// type of q.
void add_dense_bias(VarlenArgs& shape, const AttentionArgs& args, const at::Tensor& q);

/// [T,G,D] as [T,H,D], for operators that know no shared key heads, and the sum over the query heads that share one.
at::Tensor repeated_heads(const at::Tensor& x_TGD, int64_t heads);
at::Tensor shared_heads(const at::Tensor& dx_THD, int64_t groups);

/// Log-sum-exps [B,H,N] from and to [H,T]; a sequence's first row is at place `first`. Places of no row become +inf.
at::Tensor lse_of_padded(const at::Tensor& lse_BHN, const Batch& rows, int64_t first = 0);
at::Tensor lse_to_padded(const at::Tensor& lse_HT, const Batch& rows, int64_t places, int64_t first = 0);

}  // namespace peft
