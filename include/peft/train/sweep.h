#pragma once
/// A sweep: one config that stands for many runs, trained in banks on one backbone and summed up in a table.
///
///   { ...a run config..., "sweep": {"train.learning_rate": [1e-4, 1e-3], "train.seed": [1, 2, 3], "method": [{...}, {...}]} }
///
/// `sweep` maps paths of keys to lists of values and means their product; a list of such objects means all of them, one after another.
/// A value replaces whatever stands at its path, a whole section too.

#include <string>
#include <vector>

#include "peft/train/trainer.h"

namespace peft {

/// One run of a sweep.
struct SweepRun {
  std::string name;  ///< folder below the sweep's output: the values that vary, as "lora-learning_rate=0.001-seed=2"
  Json point;        ///< path -> value, as the sweep sets them
  RunConfig config;
};

struct SweepConfig {
  std::string output;
  Json json;  ///< with --set applied: what <output>/sweep.json holds
  std::vector<SweepRun> runs;

  /// Throws ConfigError naming the file and the key: no sweep section, an empty list, an unknown key, a value out of range. Every run is
  /// checked before any starts.
  static SweepConfig read(const std::filesystem::path& file, const std::vector<std::string>& sets = {});
  static SweepConfig from_json(Json json, const std::string& origin);
};

/// Throws ConfigError when the folder of a run holds a run of another config, or something else than a run. Writes nothing.
void check_runs(const std::vector<SweepRun>& runs);

/// Runs that train together, as indices in `runs`: equal but for what one bank lets differ (docs/methods.md#the-bank), in their order. A
/// bank is no larger than `largest` runs; 0: as many as fill a step with kBankExamples examples or kBankTokens tokens, beyond which a CPU
/// gains nothing.
inline constexpr int64_t kBankExamples = 256, kBankTokens = 16384;
std::vector<std::vector<std::size_t>> plan_banks(const std::vector<SweepRun>& runs, int64_t largest);

/// How one run of a sweep ended; `metrics` is empty for a run that failed or has not finished.
struct SweepOutcome {
  Json metrics;
  std::string failure;  ///< message of a guard, or of what refused its bank
};

/// The table of a sweep: one row per point without its seed, best score first. Nothing in it depends on clocks, so a sweep that was
/// interrupted ends in the same table.
struct SweepSummary {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;
  std::string markdown() const;
  std::string csv() const;
};
SweepSummary summarise(const std::vector<SweepRun>& runs, const std::vector<SweepOutcome>& outcomes);

/// What --dry-run prints: runs, memory and time of the whole sweep, then of each bank, by a few steps on its real data. Writes nothing.
std::string dry_run(const SweepConfig& sweep, const std::vector<std::vector<std::size_t>>& banks);

}  // namespace peft
