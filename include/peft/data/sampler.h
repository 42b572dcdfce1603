#pragma once
/// Which examples a step sees: a pure function of (seed, step), so that a run can be resumed, regrouped or moved at any step.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace peft {

/// Permutation of 0..n-1 for one epoch: indices sorted by Philox word (seed, "order", epoch)[index], ties by index.
std::vector<int64_t> epoch_order(int64_t n, uint64_t seed, int64_t epoch);

struct SamplerOptions {
  uint64_t seed = 0;
  int64_t batch_size = 0;        ///< examples in a micro-batch, or
  int64_t batch_tokens = 0;      ///< token budget of a micro-batch (an example longer than it stands alone)
  int64_t accumulation = 1;      ///< micro-batches in a step; the last step of an epoch may have fewer
};

/// One optimiser step: its micro-batches in order; rows are row numbers of the train split.
struct Step {
  int64_t epoch = 0;
  std::vector<std::vector<int64_t>> micro_batches;
  int64_t examples = 0;  ///< over all micro-batches: the denominator of the step's mean loss
};

class Sampler {
 public:
  /// `lengths`: tokens of each example; only read with batch_tokens.
  Sampler(std::vector<int64_t> lengths, const SamplerOptions& options);
  int64_t steps_in_epoch(int64_t epoch) const;  ///< constant with batch_size; with batch_tokens it depends on the epoch's order
  Step at(int64_t step) const;                  ///< steps count from 0 over all epochs
  int64_t steps_in_epochs(double epochs) const; ///< ceil(epochs * ...) as transformers' Trainer counts max_steps

 private:
  struct Plan;                                  // micro-batch boundaries of one epoch
  const Plan& plan(int64_t epoch) const;
  std::vector<int64_t> lengths_;
  SamplerOptions options_;
  mutable std::vector<std::shared_ptr<const Plan>> plans_;  // cache; the values are a pure function of the options
};

}  // namespace peft
