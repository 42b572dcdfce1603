#pragma once
/// Training of a bank: a list of run configs that differ only where one backbone can carry them together (docs/methods.md#the-bank).
/// peft-train passes a list of one.

#include <functional>
#include <string>
#include <vector>

#include "peft/base/error.h"
#include "peft/train/config.h"

namespace peft {

struct TrainOptions {
  bool resume = false;  ///< go on from each run folder's checkpoint; from the start where there is none; nothing where
                        ///< it is finished
  /// Called after every step with the share of the bank's work that is done and a note; empty: a progress line of its own.
  std::function<void(double done, const std::string& note)> progress = {};
};

/// How one job ended.
struct JobResult {
  ExitCode code = ExitCode::done;  ///< done, interrupted or guard
  std::string message;             ///< of a guard
  Json metrics;                    ///< metrics.json, when done
};

/// Loads model, tokenizer and data, opens the run folders and trains all jobs to their ends. Throws ConfigError and DataError before
/// anything is written; a guard that stops one job leaves the others running.
std::vector<JobResult> train_bank(const std::vector<RunConfig>& configs, const TrainOptions& options);

/// Runs with equal keys can train in one bank: equal but for what docs/methods.md#the-bank lets differ.
std::string bank_key(const RunConfig& config);

/// What --dry-run prints: everything resolved, parameter counts, data sizes, token statistics, a memory estimate. Trains nothing.
std::string dry_run(const RunConfig& config);

}  // namespace peft
