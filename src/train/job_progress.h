#pragma once
/// How far a job has come: its steps, schedule, losses, guards and patience. Pure: no files, no tensors, no clock. Private to src/train.

#include <optional>
#include <string>

#include "peft/data/dataset.h"
#include "peft/data/sampler.h"
#include "peft/train/checkpoint.h"
#include "peft/train/schedule.h"

namespace peft {

class JobProgress {
 public:
  /// `config` outlives the object and names the metric that chooses best/.
  JobProgress(const TrainConfig& config, const EncodedSplit& train);

  const JobState& state() const { return state_; }
  void resume(const JobState& state) { state_ = state; }
  /// What a checkpoint takes.
  SavedState saved() const { return {state_, of_longer_run_}; }
  const Schedule& schedule() const { return schedule_; }
  int64_t total_steps() const { return schedule_.total_steps(); }
  int64_t steps_in_epoch() const { return sampler_.steps_in_epoch(0); }
  /// Passes over the training rows so far. With a token budget the epochs differ in their number of steps.
  double epochs_done() const;

  Step at(int64_t step) const { return sampler_.at(step); }
  Step next() const { return at(state_.step); }
  /// Counts the step that next() gave. `finite`: the optimiser applied it. False: the step is skipped, its loss counts nowhere.
  bool count(const Step& step, bool finite, double loss, int64_t tokens);
  /// What a guard says after the step just counted: too many skipped steps, or a diverged loss. Nothing: the job goes on.
  std::optional<std::string> guard() const;

  /// As logging_steps and eval_steps say; the last step of a run logs and evaluates in any case.
  bool logs_in_turn() const { return state_.step % config_.logging_steps == 0; }
  bool evaluates_in_turn() const { return in_turn(config_.eval_steps); }
  bool at_last_step() const { return state_.step == total_steps(); }
  bool evaluates_now() const { return at_last_step() || evaluates_in_turn(); }
  bool saves_now() const { return at_last_step() || in_turn(config_.save_steps); }
  /// Keeps the counters of a longer run, which does nothing out of turn at this step. `log_bytes`: of its log; `doctor`: what its doctor has
  /// seen.
  void keep_for_longer_run(int64_t log_bytes, Json doctor);
  /// Evaluations of a run that nothing stops early.
  int64_t evaluations() const;
  bool checks_gradients_now() const;
  bool patience_ended() const;
  bool ended() const { return state_.step >= total_steps() || patience_ended(); }

  /// Step, epoch, learning rate of the step just done (as transformers logs it) and the mean loss since the last line; null where every
  /// step since was skipped. Starts the next mean.
  Json take_log_line();
  /// Notes the score of an evaluation; true: it is the best so far.
  bool note_score(double score);
  /// For the terminal.
  std::string note() const;

 private:
  bool in_turn(const std::optional<int64_t>& every) const;

  const TrainConfig& config_;
  Sampler sampler_;
  Schedule schedule_;
  JobState state_;
  std::optional<JobState> of_longer_run_;  // at the last step
  int64_t epoch_ = 0;                      // of the step just counted
};

}  // namespace peft
