#pragma once
/// checkpoint/state.safetensors: everything one job needs to go on bit-exactly, whatever bank it was in (no K): trained tensors,
/// optimiser state, counters. One file: a rename replaces it whole.

#include <filesystem>
#include <optional>

#include "peft/methods/method.h"
#include "peft/train/optimizer.h"

namespace peft {

/// The counters of a job. Nothing here depends on the clock, so an interrupted and an uninterrupted run write equal files.
struct JobState {
  int64_t step = 0, updates = 0;  ///< optimiser steps taken; those that were applied
  std::optional<double> best_score;
  int64_t best_step = -1, evaluations_without_better = 0;
  int64_t nonfinite_in_a_row = 0, nonfinite_steps = 0;
  double window_loss = 0.0, loss_sum = 0.0;  ///< sums of step losses since the last log line, and over the run
  int64_t window_steps = 0;
  double first_losses = 0.0, smoothed_loss = 0.0;  ///< of the divergence guard
  int64_t samples = 0, tokens = 0, log_bytes = 0;
  Json doctor = {};  ///< what it has seen and found, as it writes that itself; null in checkpoints that are older

  Json to_json() const;
  static JobState from_json(const Json& json, const std::string& origin);
};

/// The counters in a checkpoint. A run logs and evaluates at its last step even where that is out of turn, a longer run does not: so the
/// checkpoint of a last step holds the counters that the longer run has there, too.
struct SavedState {
  JobState state;
  std::optional<JobState> of_longer_run;
};

void save_checkpoint(const std::filesystem::path& file, const SavedState& saved, const Method& method,
                     const Optimizer& optimizer, int64_t k);

/// Fills slice k of the bank. Throws DataError when names or shapes do not fit; nothing is written then.
SavedState load_checkpoint(const std::filesystem::path& file, Method& method, Optimizer& optimizer, int64_t k);

/// The step at which a checkpoint was saved.
int64_t checkpoint_step(const std::filesystem::path& file);

}  // namespace peft
