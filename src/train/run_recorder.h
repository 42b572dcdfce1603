#pragma once
/// What a job leaves behind. Private to src/train.

#include "peft/interop/adapter_store.h"
#include "peft/train/checkpoint.h"
#include "peft/train/evaluate.h"
#include "src/train/bank.h"
#include "src/train/run_folder.h"

namespace peft {

/// This one leaves nothing: for a dry run, and for a process whose job another one records. FolderRecorder writes a run folder.
class RunRecorder {
 public:
  struct Start {
    JobState state = {};
    double seconds = 0.0;  ///< spent in steps so far
  };

  virtual ~RunRecorder() = default;
  /// Step of the newest checkpoint, 0 without one.
  virtual int64_t saved_step() const { return 0; }
  /// Whether there is more than the first save of a bank, between whose files a process may end.
  virtual bool has_previous_checkpoint() const { return false; }
  struct Place {
    int64_t step = 0;  ///< whose checkpoint is wanted; 0: the start
    int64_t total_steps = 0;
  };
  /// Fills slice k of the bank from the checkpoint of that step, else from the newest; without one the job starts. Of a run that has
  /// ended and is to be longer now, it undoes what the last step did out of turn.
  virtual Start open(const RunConfig& /*config*/, const Json& /*provenance*/, Bank& /*bank*/, int64_t /*k*/,
                     const Place& /*place*/) {
    return {};
  }
  virtual void log(const Json& /*line*/) {}
  virtual int64_t log_bytes() const { return 0; }
  virtual void flush() {}
  virtual void save(const SavedState& /*saved*/, const Bank& /*bank*/, int64_t /*k*/, double /*seconds*/) {}
  /// Sets best/ aside before another one takes its place that a longer run would not have.
  virtual void keep_best() {}
  /// best/ or last/, and the way back.
  virtual void save_adapter(const char* /*name*/, const AdapterStore& /*store*/, const Method& /*method*/,
                            int64_t /*k*/) {}
  /// What its folder tells, anew.
  virtual void describe_adapter(const char* /*name*/, const AdapterStore& /*store*/) {}
  virtual void restore_adapter(const char* /*name*/, const AdapterStore& /*store*/, Method& /*method*/, int64_t /*k*/) {
  }
  virtual void save_predictions(const Evaluation& /*found*/, const EncodedSplit& /*split*/, const TaskInfo& /*task*/) {}
  /// Why the job stopped for good: it would do so again, and --resume does not try it.
  virtual void save_stop(int64_t /*step*/, const std::string& /*message*/) {}
  /// The last thing written: it marks the run as finished.
  virtual void save_metrics(const Json& /*metrics*/) {}
};

class FolderRecorder final : public RunRecorder {
 public:
  explicit FolderRecorder(RunFolder folder) : folder_(std::move(folder)) {}

  int64_t saved_step() const override;
  bool has_previous_checkpoint() const override { return std::filesystem::exists(folder_.previous_checkpoint()); }
  Start open(const RunConfig& config, const Json& provenance, Bank& bank, int64_t k, const Place& place) override;
  void log(const Json& line) override { folder_.log(line); }
  int64_t log_bytes() const override { return folder_.log_bytes(); }
  void flush() override { folder_.flush(); }
  void save(const SavedState& state, const Bank& bank, int64_t k, double seconds) override;
  void keep_best() override { folder_.keep_best(); }
  void save_adapter(const char* name, const AdapterStore& store, const Method& method, int64_t k) override {
    store.save(folder_.path() / name, method, k);
  }
  void describe_adapter(const char* name, const AdapterStore& store) override { store.describe(folder_.path() / name); }
  void restore_adapter(const char* name, const AdapterStore& store, Method& method, int64_t k) override {
    store.restore(folder_.path() / name, method, k, true);
  }
  void save_predictions(const Evaluation& found, const EncodedSplit& split, const TaskInfo& task) override {
    write_predictions(folder_.path() / "predictions" / (split.name + ".jsonl"), found, split, task);
  }
  void save_stop(int64_t step, const std::string& message) override;
  void save_metrics(const Json& metrics) override;

 private:
  std::filesystem::path checkpoint_of(int64_t step) const;
  JobState going_on(const SavedState& saved, const RunConfig& config, const Bank& bank, const Place& place) const;

  RunFolder folder_;
};

}  // namespace peft
