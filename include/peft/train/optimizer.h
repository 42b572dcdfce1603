#pragma once
/// The optimiser of a bank: every adapter has its own rates, decay, clip and number of updates (methods.md 0.1, 0.2).

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "peft/methods/method.h"
#include "peft/train/config.h"

namespace peft {

class Optimizer {
 public:
  Optimizer(Method& method, std::vector<const TrainConfig*> configs);

  struct Report {
    double gradient_norm = 0.0;
    bool finite = true;  ///< false: nothing was written
  };
  /// Clips and steps adapter k: `factor` is the schedule's, `update` counts k's updates from 1. Other slices are not read or written.
  Report step(int64_t k, double factor, int64_t update);
  void zero_gradients();
  /// Norm of adapter k's gradient of one parameter; 0 where there is none.
  double gradient_norm(std::size_t parameter, int64_t k) const;

  /// State of adapter k by name ("exp_avg/<parameter>", ...), sharing memory.
  std::map<std::string, at::Tensor> state(int64_t k) const;

 private:
  Method& method_;
  std::vector<const TrainConfig*> configs_;
  std::vector<at::Tensor> first_, second_;  // exp_avg or momentum_buffer; exp_avg_sq
};

}  // namespace peft
