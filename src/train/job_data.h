#pragma once
/// The rows of one job, and what its config leaves to them. Private to src/train.

#include <map>
#include <memory>
#include <string>

#include "peft/data/dataset.h"
#include "peft/train/config.h"
#include "src/train/loss_weights.h"

namespace peft {

/// Jobs that name the same task and data share what was read, by those two sections.
using Datasets = std::map<std::string, std::shared_ptr<const Dataset>>;

struct JobData {
  std::shared_ptr<const Dataset> dataset;
  const EncodedSplit* train = nullptr;
  const EncodedSplit* dev = nullptr;   ///< nullptr: there is none with labels, and nothing is evaluated
  const EncodedSplit* test = nullptr;  ///< what the split policy reports; nullptr: it makes none with labels
  LossWeights weights = {};            ///< of the loss that trains
};

/// Reads the splits and completes `config`: the task's full name, the labels, the metric that chooses best/. Throws ConfigError and
/// DataError.
JobData load_job_data(RunConfig& config, const Tokenizer& tokenizer, Datasets& datasets);

}  // namespace peft
