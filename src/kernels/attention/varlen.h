#pragma once
/// Attention with a source on top of an operator that knows packed sequences and nothing else. Private to src/kernels.

#include <array>
#include <memory>

#include "src/kernels/attention/source.h"

namespace peft {

struct VarlenArgs {
  Batch queries, keys;  ///< keys: with those of a prefix where these stand in front
  double scale = 1.0;
  bool causal = false;  ///< aligned at the end: the last query of a sequence sees its last key
  int64_t window = 0;   ///< the last keys up to the query's own, aligned likewise; 0: all. Not for efficient_ops().
  /// Added to the scores, by distance as add_dense_bias() has it; undefined: none. For efficient_ops() only.
  at::Tensor bias_HS = {};
  int64_t unbiased_keys = 0;  ///< the first ones of every sequence
};

struct VarlenOut {
  at::Tensor out_THD,
      lse_HT;  ///< natural log, float32. Anything for rows without keys: attention_varlen() sees to them
};

struct VarlenOps {
  VarlenOut (*forward)(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const VarlenArgs& args);
  /// Of `out` and `lse` as they are given, which may be merged ones; lse = +inf: the row has no part in anything.     dq, dk, dv
  std::array<at::Tensor, 3> (*backward)(const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k,
                                        const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse_HT,
                                        const VarlenArgs& args);
};

/// FlashAttention-2 [Dao 2023, arXiv:2307.08691]: half and bfloat16, D a multiple of 8 up to 256; its backward is made repeatable.
const VarlenOps& flash_ops();
/// Memory-efficient attention [Rabe and Staats 2021, arXiv:2112.05682]: float32 too.
const VarlenOps& efficient_ops();

/// cuDNN's attention for batches of equal lengths, FlashAttention-2 for others.
const VarlenOps& cudnn_ops();

at::Tensor attention_varlen(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionArgs& args,
                            const VarlenOps& ops, std::unique_ptr<SourceRoute> source);

}  // namespace peft
