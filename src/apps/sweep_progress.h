#pragma once
/// The progress line of a sweep: `sweep 3/12 runs 31% 20.0 s each 2:50 left, best accuracy 0.9012`.

#include <optional>
#include <string>
#include <vector>

#include "peft/base/progress.h"
#include "peft/train/sweep.h"

namespace peft {

/// Time left is that of the whole sweep: runs that an earlier call finished take none. The best score is over the runs so far that share
/// task and metric with the bank that trains.
class SweepProgress {
 public:
  explicit SweepProgress(const std::vector<SweepRun>& runs);

  void begin_bank(const std::vector<std::size_t>& bank);
  void update(double share);  ///< of the bank's work that is done
  void note_score(std::size_t run, double score);
  void end_bank();
  int64_t done() const { return done_; }  ///< runs, those of earlier calls included

 private:
  struct Run {
    std::string metric, same_scale;  // runs of equal `same_scale` can be compared
    bool finished_before = false;
    std::optional<double> best;
  };
  std::string note() const;

  std::vector<Run> runs_;
  std::vector<std::size_t> bank_;
  int64_t done_ = 0, training_ = 0;  // runs of the bank that train now
  Progress line_;
};

}  // namespace peft
