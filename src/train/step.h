#pragma once
/// Forward and backward of one step of a bank's jobs. Private to src/train.

#include "src/train/job.h"

namespace peft {

/// What the micro-batches of a step leave. The losses stay on the device until the optimiser, which reads a norm, has waited for it.
struct StepLosses {
  std::vector<at::Tensor> values;  // [examples] of each micro-batch
  std::vector<int64_t> adapters;
  std::vector<double> weights;
  std::vector<int64_t> tokens;  // [K]

  /// Mean loss of each job: sums in float64 on the host, in the order of the examples, so that neither device nor micro-batches change them.
  std::vector<double> means() const;
};

/// Of every job whose Step is not empty. The gradients are those of this step alone.
StepLosses run_step(Bank& bank, const std::vector<std::unique_ptr<Job>>& jobs, const std::vector<Step>& steps,
                    const DropoutContext& dropout);

}  // namespace peft
