#pragma once
/// Times our CUDA kernels beside the stock route and a copy of the same bytes, interleaved in one run (docs/kernels.md).

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <vector>

#include "peft/base/json.h"
#include "peft/tensor/packed_batch.h"

namespace peft::bench {

/// One way to compute a case from input set `set`; returns what it computed.
struct Variant {
  std::string impl;
  std::function<std::vector<at::Tensor>(int set)> run;
};

struct Case {
  std::string bench;  ///< "ntk_attention.forward"
  Json shape;
  double bytes = 0.0;            ///< that have to move, once
  double predicted_ratio = 0.0;  ///< of the first variant over the second, written down before it runs
  int sets = 1;                  ///< input sets: together larger than the L2 cache
  /// What set 0 gives in float64; a variant that is further than `tolerance` from it (relative L2) is not timed.
  std::function<std::vector<at::Tensor>()> expected;
  double tolerance = 6e-3;
  std::vector<Variant> variants;  ///< ours, then what it competes with
};

/// Cases are made one at a time: their tensors are freed before the next.
using MakeCase = std::function<Case()>;
std::vector<MakeCase> attention_cases();
std::vector<MakeCase> row_cases();

inline at::TensorOptions on_gpu(at::ScalarType type) { return at::TensorOptions(at::kCUDA).dtype(type); }

/// Sequences of one length, as many for each adapter.
Batch batch_on_gpu(int64_t sequences, int64_t length, int64_t adapters = 1);

/// Sets needed so that `bytes` of inputs each do not stay in 50 MB of L2.
int sets_beyond_cache(double bytes);

/// Rates that nothing here can beat: bytes/s of a copy, FLOP/s of a large bfloat16 product.
Json measure_ceilings();

/// One JSON row (docs/kernels.md#benchmark-rows); medians of at least 50 graphs of 20 launches each, after 20 for warm-up.
Json measure(const Case& c, double copy_bytes_per_second);

}  // namespace peft::bench
