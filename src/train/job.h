#pragma once
/// One run inside a bank: its config, data, order, schedule, folder and counters. Private to src/train.

#include <memory>

#include "peft/data/dataset.h"
#include "peft/data/sampler.h"
#include "peft/models/transformer.h"
#include "peft/train/checkpoint.h"
#include "peft/train/evaluate.h"
#include "peft/train/optimizer.h"
#include "peft/train/schedule.h"
#include "peft/train/trainer.h"
#include "src/train/run_folder.h"

namespace peft {

/// What all jobs of a bank share.
struct Bank {
  Transformer model;
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<Method> method;
  std::unique_ptr<Optimizer> optimizer;
  FeatureCache features = {};  ///< empty unless the method trains the head alone
};

class Job {
 public:
  /// Reads the data (shared between jobs that name the same) and looks at the run folder; writes nothing.
  Job(RunConfig config, const TrainOptions& options, const Tokenizer& tokenizer,
      std::map<std::string, std::shared_ptr<const Dataset>>& datasets);

  const RunConfig& config() const { return config_; }
  const Dataset& data() const { return *data_; }
  bool finished_before() const { return folder_.found() == RunFolder::Found::finished; }
  bool active() const { return active_; }
  const JobResult& result() const { return result_; }
  int64_t step() const { return state_.step; }
  const Schedule& schedule() const { return schedule_; }
  int64_t total_steps() const { return schedule_.total_steps(); }
  int64_t steps_in_epoch() const { return sampler_.steps_in_epoch(0); }

  /// Step of the newest checkpoint, 0 without one.
  int64_t saved_step() const;
  /// Not only the first save of its bank, between whose files a process may end.
  bool saved_twice() const { return std::filesystem::exists(folder_.previous_checkpoint()); }
  /// Opens the run folder and goes on from its checkpoint of `step` where it has one (0: the start), else from the newest.
  void open(Bank& bank, int64_t k, const Json& provenance, int64_t step);

  Step next() const { return sampler_.at(state_.step); }
  const EncodedSplit& train_split() const { return *train_; }
  const EncodedSplit* dev_split() const { return dev_; }  ///< nullptr: nothing is evaluated
  Optimizer::Due due_step() const { return {static_cast<std::size_t>(k_), state_.step, state_.updates}; }
  /// After the optimiser's step: counts it. A guard may end the job here.
  void update(const Optimizer::Report& report, const Step& step, double loss, int64_t tokens);
  /// Logs and evaluates as the config says; `seconds` is this job's share of the step. A guard may end the job here. True: all jobs of the
  /// bank should save now, since the job is due to or ends, and rows depend in their last bits on the rows beside them.
  bool finish_step(Bank& bank, const Step& step, double seconds);
  /// Adds to the time of training what was not a step.
  void charge(double seconds) { seconds_ += seconds; }
  /// Writes the results of a job that has done its last step or stopped early. All jobs of a bank have saved by then.
  void complete_if_due(Bank& bank);
  void save(Bank& bank);
  void stop(ExitCode code, std::string message);
  /// A guard's stop for good, after the others have saved: --resume does not try it again.
  void record_stop() const;
  std::string progress_note() const;

 private:
  bool patience_ended() const;
  double epochs_done() const;
  void log_training();
  void evaluate_now(Bank& bank);
  void check_gradients(const Bank& bank);
  bool diverged() const;
  void write_adapter_folder(const Bank& bank, const char* name) const;
  void complete(Bank& bank);
  std::filesystem::path checkpoint_of(int64_t step) const;
  bool due(const std::optional<int64_t>& every, bool epoch_ends) const;

  RunConfig config_;
  std::shared_ptr<const Dataset> data_;
  const EncodedSplit *train_, *dev_;
  Sampler sampler_;
  Schedule schedule_;
  RunFolder folder_;
  JobState state_;
  JobResult result_;
  int64_t k_ = 0;
  double seconds_ = 0.0, gradient_norm_ = 0.0;
  std::optional<Evaluation> best_;  // the evaluation that best/ holds, when this process made it
  bool active_ = false;
};

}  // namespace peft
