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
  at::Tensor logits;                ///< [rows, N] float32 on the CPU, in the order of the split; undefined where
                                    ///< the objective reads target tokens
  std::vector<Target> predictions;  ///< one an example; nothing where the logits are not finite
  double loss = 0.0;       ///< mean over the examples, or over what the objective counts; 0 when labels are hidden
  int64_t nonfinite = 0;   ///< examples with a logit that is not finite
  bool collapsed = false;  ///< every example of a split with several answers is predicted alike
  double seconds = 0.0;
  int64_t tokens = 0;
  Json facts = {};  ///< what the method says about its own values, for the log
};

/// Logits of adapter k for every sequence of a split, or every token that is read, in its order, without gradients, dropout or padding.
/// Examples are grouped by length for speed.     -> [rows, N] float32 on the CPU
at::Tensor split_logits(const Transformer& model, Method& method, int64_t k, const EncodedSplit& split,
                        LogitRows rows = LogitRows::sequences, const FeatureCache& cache = {});

/// What the task's objective makes of them. Throws DataError when the head has not the outputs that the task needs.
Evaluation evaluate(const Transformer& model, Method& method, int64_t k, const EncodedSplit& split,
                    const TaskInfo& task, const FeatureCache& cache = {});

/// The task's metrics, and those of each part of a split that has parts: accuracy, accuracy_matched, ...
std::vector<std::string> score_names(const EncodedSplit& split, const TaskInfo& task);
/// These as eval_<name>, and eval_loss, eval_undefined, eval_invalid, eval_nonfinite.
Json evaluation_metrics(const Evaluation& evaluation, const EncodedSplit& split, const TaskInfo& task);
/// 95 % bootstrap intervals of these (docs/tasks.md#intervals): {METRIC: [low, high]}.
Json score_intervals(const Evaluation& evaluation, const EncodedSplit& split, const TaskInfo& task,
                     int64_t resamples = 1000, uint64_t seed = 0);
/// What always giving the commonest answer of the split would score, and that answer: {"prediction": "no", METRIC: ...}. Null for scores and
/// texts, of which none is common.
Json majority_scores(const EncodedSplit& split, const TaskInfo& task);
Scored scored(const Evaluation& evaluation, const EncodedSplit& split, const TaskInfo& task);

/// predictions/SPLIT.jsonl (docs/tasks.md#predictions-files): {"idx", "prediction", "reference", "group", "part", "scores"}, one line an
/// example. Scores are the logits of its sequences.
void write_predictions(const std::filesystem::path& file, const Evaluation& evaluation, const EncodedSplit& split,
                       const TaskInfo& task);

}  // namespace peft
