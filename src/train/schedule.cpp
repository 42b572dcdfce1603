#include "peft/train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace peft {

Schedule::Schedule(const TrainConfig& config, int64_t total_steps)
    : type_(config.lr_scheduler_type),
      total_(total_steps),
      warmup_(config.warmup_steps > 0
                  ? config.warmup_steps
                  : static_cast<int64_t>(std::ceil(config.warmup_ratio * static_cast<double>(total_steps)))) {}

bool Schedule::ignores_length(const TrainConfig& config) {
  if (config.lr_scheduler_type == "constant") return true;
  return config.lr_scheduler_type == "constant_with_warmup" && (config.warmup_steps > 0 || config.warmup_ratio == 0.0);
}

double Schedule::factor(int64_t step) const {
  if (type_ == "constant") return 1.0;
  if (step < warmup_) return static_cast<double>(step) / static_cast<double>(std::max<int64_t>(1, warmup_));
  if (type_ == "constant_with_warmup") return 1.0;
  const double progress =
      static_cast<double>(step - warmup_) / static_cast<double>(std::max<int64_t>(1, total_ - warmup_));
  if (type_ == "cosine") return std::max(0.0, 0.5 * (1.0 + std::cos(std::numbers::pi * progress)));
  return std::max(0.0, 1.0 - progress);
}

}  // namespace peft
