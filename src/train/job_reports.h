#pragma once
/// What a job says of itself: metrics.json, and what is wrong with its values. Private to src/train.

#include <optional>
#include <string>

#include "peft/interop/description.h"
#include "peft/train/evaluate.h"
#include "src/train/bank.h"
#include "src/train/job_data.h"
#include "src/train/job_progress.h"

namespace peft {

/// Examples of each split that the run reads.
Json split_sizes(const JobData& data);
/// Counts, times and sizes of a run that has done its steps.
Json training_metrics(const RunConfig& config, const JobData& data, const JobProgress& progress, const Method& method,
                      int64_t k, double seconds);
/// Scores on dev of what best/ holds.
Json best_metrics(const RunConfig& config, const JobData& data, const JobProgress& progress,
                  const Evaluation& evaluation);

/// Scores on the test split of the policy: test_METRIC, test_loss, ...
Json test_metrics(const Evaluation& evaluation, const JobData& data);

/// What the folders of a run tell of it, without scores.
Description description_of(const RunConfig& config, const Bank& bank, const std::string& model_fingerprint);
/// The scores of an evaluation as a description holds them.
Json scores_of(const Json& metrics, const EncodedSplit& split, const TaskInfo& task, int64_t step);

/// The metric that chooses best/, of an evaluation's log line. One that is no number counts as the worst.
double score_of(const Json& line, const std::string& metric);

/// Says which trained tensor of adapter k holds a value that is not finite, or whose square overflows float32: norms, products of two
/// trained matrices and logits are infinite then. Nothing: all are useful.
std::optional<std::string> useless_values(const Method& method, int64_t k);

}  // namespace peft
