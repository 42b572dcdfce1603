#pragma once
/// How much each class counts in the loss: train.class_weights and train.label_smoothing_factor. Private to src/train.

#include <vector>

#include "peft/data/dataset.h"
#include "peft/train/config.h"

namespace peft {

/// The loss of an example with label y is sum_n c_n (-log p_n), c_n = w_n ((1 - s) [n = y] + s / N); the mean loss of a step divides by the sum
/// of w_y over its examples. That is torch's CrossEntropyLoss(weight=w, label_smoothing=s). N classes.
struct LossWeights {
  std::vector<double> classes = {};  ///< w [N]; empty: the task has no classes
  double smoothing = 0.0;            ///< s

  /// Plain cross entropy.
  bool plain() const;
  /// w_y.
  double of(double label) const { return classes.empty() ? 1.0 : classes.at(static_cast<std::size_t>(label)); }
  /// Appends c [N].
  void add_row(double label, std::vector<double>& rows) const;
};

/// Throws ConfigError where the config weighs or smooths what is no class, or names another class.
LossWeights loss_weights(const TrainConfig& config, const EncodedSplit& train, const TaskInfo& task);

}  // namespace peft
