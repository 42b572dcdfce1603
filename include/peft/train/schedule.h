#pragma once
/// Learning-rate schedules as transformers has them: the factor on the peak rate at a step counted from 0.

#include <cstdint>
#include <string>

#include "peft/train/config.h"

namespace peft {

class Schedule {
 public:
  Schedule(const TrainConfig& config, int64_t total_steps);
  /// linear: s/W rising, then (S-s)/(S-W) falling; cosine: (1 + cos(pi (s-W)/(S-W)))/2; constant: 1.  W warm-up, S all steps.
  double factor(int64_t step) const;
  int64_t total_steps() const { return total_; }
  int64_t warmup_steps() const { return warmup_; }
  /// Whether a run of any number of steps has the same rate at a step.
  static bool ignores_length(const TrainConfig& config);

 private:
  std::string type_;
  int64_t total_, warmup_;
};

}  // namespace peft
