#pragma once
/// From configs to a bank that is ready to train. Private to src/train.

#include <limits>

#include "src/train/job.h"

namespace peft {

/// Throws ConfigError naming the first key in which two configs of a bank may not differ.
void check_bank(const std::vector<RunConfig>& configs);
void set_threads(const TrainConfig& config);
/// Model and tokenizer on the config's device; no method yet. Throws ConfigError and DataError.
Bank open_bank(const RunConfig& config);
/// The method with its start values, and the optimiser. Checks lengths against the model's positions.
void attach_method(Bank& bank, const std::vector<std::unique_ptr<Job>>& jobs);
/// Fills the bank's feature cache when the method allows it and the jobs read their rows often enough to gain by it. Throws ConfigError
/// when the config demands it of a network with dropout.
/// `batches`: of each split, as FeatureCache::add takes it. Returns the share of the work that was done.
double cache_features(Bank& bank, const std::vector<std::unique_ptr<Job>>& jobs,
                      std::size_t batches = std::numeric_limits<std::size_t>::max());
/// Versions and fingerprints of code, model and tokenizer.
Json make_provenance(const Bank& bank);

}  // namespace peft
