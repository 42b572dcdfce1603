#pragma once
/// Predictions and scores of one adapter on one split.

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <vector>

#include "peft/data/dataset.h"
#include "peft/methods/method.h"
#include "peft/metrics/metrics.h"
#include "peft/train/features.h"

namespace peft {

struct Evaluation {
  at::Tensor logits;                ///< [rows, N] float32 on the CPU, in the order of the split
  std::vector<double> predictions;  ///< class ids or scores; -1 or NaN where the logits are not finite
  double loss = 0.0;                ///< mean over the rows; 0 when labels are hidden
  int64_t nonfinite = 0;            ///< rows with a logit that is no finite number
  bool collapsed = false;           ///< one class predicted for every row of a split that has several
  double seconds = 0.0;
  int64_t tokens = 0;
  Json facts = {};  ///< what the method says about its own values, for the log
};

/// Runs adapter k without gradients, dropout or padding; rows are grouped by length for speed, results come in the order of the split.
Evaluation evaluate(const Transformer& model, Method& method, int64_t k, const EncodedSplit& split,
                    const TaskInfo& task, const FeatureCache& cache = {});

/// The task's metrics: eval_<name>, eval_loss, eval_undefined, eval_invalid, eval_nonfinite.
Json evaluation_metrics(const Evaluation& evaluation, const EncodedSplit& split, const TaskInfo& task);
Scored scored(const Evaluation& evaluation, const EncodedSplit& split, const TaskInfo& task);

/// predictions/SPLIT.jsonl (docs/tasks.md#predictions-files): {"idx", "prediction", "reference", "scores"}, one line a row.
void write_predictions(const std::filesystem::path& file, const Evaluation& evaluation, const EncodedSplit& split,
                       const TaskInfo& task);

}  // namespace peft
