#pragma once
/// One run inside a bank: leads its progress, its rows and its recorder through the steps. Private to src/train.

#include "peft/train/trainer.h"
#include "src/train/doctor.h"
#include "src/train/job_data.h"
#include "src/train/job_progress.h"
#include "src/train/run_recorder.h"

namespace peft {

/// What a run is expected to take, by the first steps of its process.
struct RunEstimate {
  static constexpr int64_t kSteps = 3;
  int64_t steps = 0;
  double step_seconds = 0.0, other_seconds = 0.0;  ///< of these steps; of what is done once
  int64_t work = 0;                                ///< of these steps (work_of of forecast.h)
  int64_t growth_bytes = 0;                        ///< of memory, that later steps will add
  int64_t peak_memory_bytes = 0;

  /// Notes a step, and the memory expected by then; true: it was one of the first.
  bool add(double seconds, int64_t step_work);
  /// Of all training of a run with `total_work`.
  double train_seconds(double total_work) const {
    return other_seconds + (work > 0 ? step_seconds / static_cast<double>(work) * total_work : 0.0);
  }
};

class Job {
 public:
  using OnEvaluation = std::function<Verdict(int64_t step, double score)>;

  /// Reads the data (shared between jobs that name the same) and completes the config; writes nothing.
  Job(RunConfig config, const Tokenizer& tokenizer, Datasets& datasets, std::unique_ptr<RunRecorder> recorder,
      OnEvaluation on_evaluation = {});

  const RunConfig& config() const { return config_; }
  const Dataset& data() const { return *data_.dataset; }
  const EncodedSplit& train_split() const { return *data_.train; }
  const EncodedSplit* dev_split() const { return data_.dev; }    ///< nullptr: nothing is evaluated
  const EncodedSplit* test_split() const { return data_.test; }  ///< nullptr: the policy reports dev
  const LossWeights& loss_weights() const { return data_.weights; }
  const JobProgress& progress() const { return progress_; }
  const RunRecorder& recorder() const { return *recorder_; }
  int64_t step() const { return progress_.state().step; }
  bool active() const { return active_; }
  const JobResult& result() const { return result_; }

  /// Opens what the recorder has and goes on from its checkpoint of `step` where there is one (0: the start), else from the newest.
  void open(Bank& bank, int64_t k, Json provenance, int64_t step);
  /// Whether the doctor's findings go to the log for people, too.
  void says_findings(bool says) { says_findings_ = says; }
  Optimizer::Due due_step() const;
  /// Of a step, and of all steps of the run.
  int64_t work(const Bank& bank, const Step& step) const;
  double total_work(const Bank& bank) const;
  /// After the optimiser's step: counts, logs and evaluates as the config says; `seconds` is this job's share of the step. A guard or
  /// the caller's verdict may stop the job here. True: all jobs of the bank should save now, since the job is due to or ends, and rows
  /// depend in their last bits on the rows beside them.
  bool finish_step(Bank& bank, const Step& step, const Optimizer::Report& report, double loss, int64_t tokens,
                   double seconds);
  /// Of the process's memory, beyond what the first steps will have held.
  void expect_growth(int64_t bytes) { estimate_.growth_bytes = bytes; }
  /// Adds to the time of training what was not a step.
  void charge(double seconds) {
    seconds_ += seconds;
    estimate_.other_seconds += seconds;
  }
  /// Writes the results of a job that has done its last step or stopped early. All jobs of a bank have saved by then.
  void complete_if_due(Bank& bank);
  void save(const Bank& bank);
  /// A stop on a signal, after save(): --resume goes on.
  void interrupt();
  /// A stop for good, after the others have saved: --resume does not try it again.
  void record_stop() const { recorder_->save_stop(step(), result_.message); }

 private:
  bool stopped_by_guard(const Bank& bank);
  void stop(const std::string& why);
  void check_gradients(const Bank& bank);
  void say_findings();
  void evaluate_now(Bank& bank);
  void complete(Bank& bank);
  void keep_scores(const Evaluation& evaluation, const EncodedSplit& split);
  AdapterStore store(const Bank& bank) const { return {bank.model, data_.dataset->task.labels, description_}; }

  RunConfig config_;
  JobData data_;
  JobProgress progress_;
  Doctor doctor_;
  std::unique_ptr<RunRecorder> recorder_;
  OnEvaluation on_evaluation_;
  JobResult result_;
  int64_t k_ = 0;
  double seconds_ = 0.0;
  Description description_;
  RunEstimate estimate_;
  std::optional<Evaluation> best_;  // the evaluation that best/ holds, when this process made it
  bool active_ = false, says_findings_ = true;
};

}  // namespace peft
