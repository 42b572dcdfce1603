#pragma once
/// A learning rate for one run config: ten rates for a short run each, in one bank (docs/doctor.md#a-learning-rate).

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "peft/train/sweep.h"

namespace peft {

/// What --find-rate tries: two a decade, from what full fine-tuning takes at the least to what a prompt takes at the most.
inline constexpr double kTriedRates[] = {1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1};
inline constexpr int64_t kFindRateSteps = 100;  ///< or those of the run, where it has fewer

/// The sweep over kTriedRates of the run config `file`, in the folder OUTPUT-find-rate. Its runs keep schedule, batch size and seed; their
/// warm-up shrinks with their steps, they evaluate once, at the end, and never stop early. Reads the data where only they tell the number
/// of steps. Throws ConfigError, also for a config with a section `sweep`, and DataError.
SweepConfig find_rate_sweep(const std::filesystem::path& file, const std::vector<std::string>& sets);

/// How a short run went.
struct RateResult {
  double rate = 0.0;
  std::optional<double> first = {}, loss = {};  ///< training loss before anything is learned, and of the last steps;
                                                ///< nothing: not a number
  std::optional<double> score = {};             ///< of dev; nothing: none, or undefined
  std::string failure = {};                     ///< why it stopped before its end
  bool diverged() const;                        ///< stopped, not a number, or worse than at its start
};

struct RateChoice {
  std::optional<std::size_t> best;  ///< nothing: none can be suggested
  std::string why;
};

/// The rate with the best score; of scores within one standard error of it the one with the lowest loss; of equal losses the lowest rate.
/// A rate whose next higher neighbour diverged is taken only where there is no other. Without scores the loss decides. `results` ascend by
/// rate. `dev_examples`: of a score between 0 and 1.
RateChoice choose_rate(const std::vector<RateResult>& results, bool lower_is_better, int64_t dev_examples);

/// Table and sentence, for the terminal and for summary.md: rate, loss, score, bar.
std::string rate_curve(const std::vector<RateResult>& results, const std::string& metric, int64_t dev_examples);

/// The same from the run folders of a finished sweep.
std::string find_rate_report(const SweepConfig& sweep, const std::vector<SweepOutcome>& outcomes);

}  // namespace peft
