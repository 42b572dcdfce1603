#pragma once
/// Which examples a step sees: a pure function of (seed, step), so that a run can be resumed, regrouped or moved at any step.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace peft {

/// Permutation of 0..n-1 for one epoch: indices sorted by Philox word (seed, "order", epoch)[index], ties by index.
std::vector<int64_t> epoch_order(int64_t n, uint64_t seed, int64_t epoch);

/// Cuts rows, in the order given, into micro-batches of at most `batch_tokens` tokens; a row longer than that stands alone. Row r has
/// lengths[r] tokens. Gives the ends of the micro-batches: batch b holds order[ends[b-1]] .. order[ends[b]-1].
std::vector<int64_t> pack_tokens(std::span<const int64_t> order, std::span<const int64_t> lengths,
                                 int64_t batch_tokens);

struct SamplerOptions {
  uint64_t seed = 0;
  int64_t batch_size = 0;    ///< examples in a micro-batch, or
  int64_t batch_tokens = 0;  ///< token budget of a micro-batch (an example longer than it stands alone)
  int64_t accumulation = 1;  ///< micro-batches in a step; the last step of an epoch may have fewer
};

/// One optimiser step: its micro-batches in order; rows are row numbers of the train split.
struct Step {
  int64_t epoch = 0;
  std::vector<std::vector<int64_t>> micro_batches;
  int64_t examples = 0;  ///< over all micro-batches: the denominator of the step's mean loss
};

/// Throws ConfigError when there are no examples or not exactly one of batch_size and batch_tokens is positive.
class Sampler {
 public:
  /// `lengths`: tokens of each example; only read with batch_tokens.
  Sampler(std::vector<int64_t> lengths, const SamplerOptions& options);
  int64_t steps_in_epoch(
      int64_t epoch) const;     ///< constant with batch_size; with batch_tokens it depends on the epoch's order
  Step at(int64_t step) const;  ///< steps count from 0 over all epochs
  int64_t steps_in_epochs(double epochs) const;  ///< ceil(epochs * ...) as transformers' Trainer counts max_steps

 private:
  struct Plan;  // order and micro-batch boundaries of one epoch
  std::shared_ptr<const Plan> plan(int64_t epoch) const;
  int64_t size() const { return static_cast<int64_t>(lengths_.size()); }

  std::vector<int64_t> lengths_;
  SamplerOptions options_;
  // Caches; the values are a pure function of the options.
  mutable std::shared_ptr<const Plan> latest_;
  mutable std::vector<int64_t> steps_;  // of the epochs counted so far, with batch_tokens
};

}  // namespace peft
