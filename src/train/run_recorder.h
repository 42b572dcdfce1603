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
  /// Fills slice k of the bank from the checkpoint of `step` (0: the start), else from the newest; without one the job starts.
  virtual Start open(const RunConfig& /*config*/, const Json& /*provenance*/, Bank& /*bank*/, int64_t /*k*/,
                     int64_t /*step*/) {
    return {};
  }
  virtual void log(const Json& /*line*/) {}
  virtual void flush() {}
  virtual void save(JobState /*state*/, const Bank& /*bank*/, int64_t /*k*/, double /*seconds*/) {}
  /// best/ or last/, and the way back.
  virtual void save_adapter(const char* /*name*/, const AdapterStore& /*store*/, const Method& /*method*/,
                            int64_t /*k*/) {}
  /// What its folder tells, anew.
  virtual void describe_adapter(const char* /*name*/, const AdapterStore& /*store*/) {}
  virtual void restore_adapter(const char* /*name*/, const AdapterStore& /*store*/, Method& /*method*/, int64_t /*k*/) {
  }
  virtual void save_predictions(const Evaluation& /*dev*/, const EncodedSplit& /*split*/, const TaskInfo& /*task*/) {}
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
  Start open(const RunConfig& config, const Json& provenance, Bank& bank, int64_t k, int64_t step) override;
  void log(const Json& line) override { folder_.log(line); }
  void flush() override { folder_.flush(); }
  void save(JobState state, const Bank& bank, int64_t k, double seconds) override;
  void save_adapter(const char* name, const AdapterStore& store, const Method& method, int64_t k) override {
    store.save(folder_.path() / name, method, k);
  }
  void describe_adapter(const char* name, const AdapterStore& store) override { store.describe(folder_.path() / name); }
  void restore_adapter(const char* name, const AdapterStore& store, Method& method, int64_t k) override {
    store.restore(folder_.path() / name, method, k, true);
  }
  void save_predictions(const Evaluation& dev, const EncodedSplit& split, const TaskInfo& task) override {
    write_predictions(folder_.path() / "predictions" / "dev.jsonl", dev, split, task);
  }
  void save_stop(int64_t step, const std::string& message) override;
  void save_metrics(const Json& metrics) override;

 private:
  std::filesystem::path checkpoint_of(int64_t step) const;

  RunFolder folder_;
};

}  // namespace peft
