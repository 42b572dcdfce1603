#pragma once
/// What a run will take, by its longest batch and by its first steps. Private to src/train.

#include "src/train/step.h"

namespace peft {

/// What a first probe of a bank found.
struct Probe {
  int64_t longest_tokens = 0;       ///< of the largest micro-batch of all steps, rows of a method included
  int64_t growth_bytes = 0;         ///< that the rest of the run will add to the memory held
  double evaluation_seconds = 0.0;  ///< of an evaluation of the first job
};

/// Tokens of an example, and of the rows that the method puts in front of each of its sequences.
int64_t work_of(const Bank& bank, const EncodedSplit& split, int64_t example);

/// Passes forward and backward over the largest micro-batch of the run, and forward over the largest of an evaluation. It changes no
/// value that trains: from then on the process has held about as much memory as it ever will, and a run that does not fit ends here
/// instead of hours later.
Probe probe_longest(Bank& bank, const std::vector<std::unique_ptr<Job>>& jobs);

}  // namespace peft
