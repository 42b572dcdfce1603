#pragma once
/// Training of a bank: a list of run configs that differ only where one backbone can carry them together (docs/methods.md#the-bank).
/// peft-train passes a list of one.

#include <functional>
#include <string>
#include <vector>

#include "peft/base/error.h"
#include "peft/train/config.h"

namespace peft {

enum class Verdict { keep, drop };

struct TrainOptions {
  bool resume = false;  ///< go on from each run folder's checkpoint; from the start where there is none; nothing where
                        ///< it is finished and not to be longer
  bool says_findings = true;  ///< the doctor's, when they are new; false: they stand in the run folders alone
  /// Called after every step with the share of the bank's work that is done and a note; empty: a progress line of its own.
  std::function<void(double done, const std::string& note)> progress = {};
  /// Called after every evaluation but a job's last one, with the job's place in the list of configs and the score that chooses best/.
  /// A job that is dropped ends there, as if by a guard; its run folder says so. The others go on as if it had done its last step.
  std::function<Verdict(std::size_t job, int64_t step, double score)> on_evaluation = {};
};

/// How one job ended.
struct JobResult {
  ExitCode code = ExitCode::done;  ///< done, interrupted or guard (dropped jobs too)
  std::string message;             ///< why it is not done
  Json metrics;                    ///< metrics.json, when done
};

/// Loads model, tokenizer and data, opens the run folders and trains all jobs to their ends. Throws ConfigError and DataError before
/// anything is written; a guard that stops one job leaves the others running.
std::vector<JobResult> train_bank(const std::vector<RunConfig>& configs, const TrainOptions& options);

/// Whether the run folder of the config holds a run, however far it has come. Throws ConfigError when it holds something else.
bool holds_run(const RunConfig& config);

/// Runs with equal keys can train in one bank: equal but for what docs/methods.md#the-bank lets differ.
std::string bank_key(const RunConfig& config);

/// What --dry-run prints: first a line each about model, task, data, method, steps, memory and time, by a few steps on the real data; then
/// the data and the trained tensors; last the resolved config. Writes nothing.
std::string dry_run(const RunConfig& config);

}  // namespace peft
