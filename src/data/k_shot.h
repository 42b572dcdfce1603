#pragma once
/// A few examples of each class (docs/tasks.md#k-shot).

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "example_classes.h"
#include "peft/data/config.h"

namespace peft {

/// Whether `split` is reduced to a few examples.
inline bool is_k_shot(const SplitConfig& config, const std::string& split) {
  return (config.k_shot || config.k_shot_total) && (split == "train" || (split == "dev" && config.k_shot_dev));
}

inline int64_t k_shot_seed(const SplitConfig& config) {
  constexpr int64_t default_seed = 42;  // that of train.seed
  return config.k_shot_seed.value_or(default_seed);
}

/// Positions within a split of the examples that are kept, in the order of permutation(examples, seed). `classes[i]`: class of the
/// example at position i. Throws DataError naming `file` and the class that has too few, ConfigError for a total below the number of classes.
std::vector<int64_t> choose_k_shot(const SplitConfig& config, std::span<const int64_t> classes,
                                   const std::vector<std::string>& names, const std::string& file,
                                   const std::string& split);

}  // namespace peft
