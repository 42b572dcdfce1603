#pragma once
/// The files of one run (docs/formats.md#run-folders). Private to src/train.

#include <filesystem>
#include <memory>
#include <optional>

#include "peft/base/files.h"
#include "peft/base/json.h"
#include "peft/base/tensorboard.h"
#include "peft/train/config.h"

namespace peft {

class RunFolder {
 public:
  enum class Found { nothing, checkpoint, stopped, finished };

  /// Only looks; creates nothing. Throws ConfigError when the folder holds a run and `resume` is false, or something else than a run.
  RunFolder(std::filesystem::path folder, bool resume);
  Found found() const { return found_; }
  /// Goes on with a finished run, whose config asks for more steps now. Throws DataError without its checkpoint.
  void prolong();
  /// Warns of adapters of a finished run that are not there or cannot be read.
  void warn_of_losses() const;
  /// metrics.json or stopped.json of a run that ended. Throws DataError when it cannot be read.
  Json read_end(const char* name) const;
  bool is_prolonged() const { return prolonged_; }

  /// Creates and locks the folder. A folder without a checkpoint is cleared of what an earlier start left.
  void open();
  /// Throws ConfigError naming the first key in which `config` and the stored config.json differ. What a job takes from its data and
  /// `config` leaves open is as stored: comparing needs no data. True: they differ in the number of steps or epochs alone, `config` has
  /// more, and the rates of the steps do not depend on it.
  bool check_config(RunConfig config) const;
  /// With a checkpoint, `config` must say the same as the stored one (ConfigError naming the key) about the same model and data
  /// (DataError).
  void check_provenance(const RunConfig& config, const Json& provenance) const;
  /// Writes config.json. A prolonged run is no longer a finished one from then on.
  void write_config(const RunConfig& config, const Json& provenance);

  /// Sets best/ aside, and puts it back in its place; `wanted` false: the run has none at its step.
  void keep_best() const;
  void restore_best(bool wanted) const;

  /// Cuts the log back to `bytes` and goes on from there, behind its last whole line where bytes are missing; TensorBoard's files get a new session that starts at `step`.
  void start_log(int64_t bytes, int64_t step);
  /// One line of log.jsonl, and its numbers as TensorBoard scalars where it has a "step".
  void log(const Json& line);
  int64_t log_bytes() const { return log_bytes_; }
  void flush();

  std::filesystem::path checkpoint() const { return folder_ / "checkpoint" / "state.safetensors"; }
  /// The one before, which a bank keeps: killed between the saves of two jobs, both go on from the same step.
  std::filesystem::path previous_checkpoint() const { return folder_ / "checkpoint" / "previous.safetensors"; }
  /// Seconds spent in steps so far, beside the checkpoint: the clock has no place in the state.
  std::filesystem::path runtime() const { return folder_ / "checkpoint" / "runtime.json"; }
  /// best/ as it was before an evaluation at the last step, out of turn, was better.
  std::filesystem::path kept_best() const { return folder_ / "checkpoint" / "best"; }
  /// Why a guard stopped the run: it would do so again.
  std::filesystem::path stopped() const { return folder_ / "stopped.json"; }
  const std::filesystem::path& path() const { return folder_; }

 private:
  Found look() const;

  std::filesystem::path folder_;
  Found found_ = Found::nothing;
  bool prolonged_ = false;
  std::unique_ptr<FolderLock> lock_;
  std::unique_ptr<EventWriter> events_;
  struct Descriptor {
    explicit Descriptor(int opened) : number(opened) {}
    ~Descriptor();
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    int number;
  };
  std::unique_ptr<Descriptor> log_;
  int64_t log_bytes_ = 0;
};

}  // namespace peft
