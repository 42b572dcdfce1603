#pragma once
/// The optimiser of a bank: every adapter has its own rates, decay, clip and number of updates (docs/methods.md#optimiser).

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "peft/kernels/bank_adamw.h"
#include "peft/methods/method.h"
#include "peft/train/config.h"
#include "peft/train/schedule.h"

namespace peft {

class Optimizer {
 public:
  struct Hyperparameters {
    const TrainConfig* config = nullptr;
    Schedule schedule;
  };
  /// `custom_kernels`: AdamW by our CUDA kernel, all adapters at once; the parameters then move into its buffers.
  Optimizer(Method& method, std::vector<Hyperparameters> adapters, bool custom_kernels = false);

  /// Adapter k, which has done `step` steps, `updates` of them with finite gradients.
  struct Due {
    std::size_t k = 0;
    int64_t step = 0, updates = 0;
  };
  struct Report {
    double gradient_norm = 0.0;
    bool finite = true;  ///< false: nothing was written
  };
  /// Clips and steps the adapters that are due. Other slices are not read or written.
  std::vector<Report> step(const std::vector<Due>& due);
  void zero_gradients();
  /// Of a pass that no step follows.
  void discard_gradients();
  /// Whether the gradient of a parameter of adapter k has been other than zero, in any update (SGD without momentum: in the last).
  bool moved(std::size_t parameter, int64_t k) const;

  /// State of adapter k by name ("exp_avg/<parameter>", ...), sharing memory.
  std::map<std::string, at::Tensor> state(int64_t k) const;

 private:
  void use_custom_kernel();
  std::vector<Report> step_all(const std::vector<Due>& due);
  Report step_one(const Due& due);

  Method& method_;
  std::vector<Hyperparameters> adapters_;
  std::vector<at::Tensor> first_, second_;  // exp_avg or momentum_buffer; exp_avg_sq
  std::unique_ptr<BankAdamW> bank_;
  std::vector<bool> active_;  // in bank_
};

}  // namespace peft
