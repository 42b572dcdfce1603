#include "peft/train/evaluate.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>

#include "peft/base/error.h"
#include "peft/base/files.h"
#include "peft/objectives/objective.h"
#include "peft/train/batch.h"

namespace peft {

at::Tensor split_logits(const Transformer& model, Method& method, int64_t k, const EncodedSplit& split, LogitRows rows,
                        const FeatureCache& cache) {
  at::NoGradGuard no_grad;
  const DropoutContext no_dropout;
  at::Tensor logits;
  for (const std::vector<int64_t>& batch : length_batches(split, method.virtual_tokens())) {
    std::vector<BatchExample> examples;
    for (const int64_t example : batch) examples.push_back({&split, example, k, 0});
    const at::Tensor out =
        batch_logits(model, method, examples, rows, no_dropout, cache).to(at::kCPU, at::kFloat).contiguous();
    const int64_t outputs = out.size(1);
    if (!logits.defined()) logits = at::empty({split.first_row(split.size()), outputs}, at::kFloat);
    const auto* from = out.const_data_ptr<float>();
    for (const int64_t example : batch) {
      const int64_t numbers = split.rows(example) * outputs;
      std::copy_n(from, numbers, logits.data_ptr<float>() + split.first_row(example) * outputs);
      from += numbers;
    }
  }
  return logits;
}

namespace {

/// Losses of the examples of a split whose logits are too many to keep.     -> [examples] float64 on the CPU
at::Tensor split_losses(const Transformer& model, Method& method, int64_t k, const EncodedSplit& split,
                        const Objective& objective) {
  const DropoutContext no_dropout;
  at::Tensor losses = at::empty({split.size()}, at::kDouble);
  for (const std::vector<int64_t>& batch : length_batches(split, method.virtual_tokens())) {
    std::vector<BatchExample> examples;
    BatchTargets targets;
    for (const int64_t example : batch) {
      examples.push_back({&split, example, k, 0});
      targets.add(split, example);
    }
    const at::Tensor logits = batch_logits(model, method, examples, objective.logit_rows(), no_dropout, {});
    losses.index_copy_(0, at::tensor(at::ArrayRef<int64_t>(batch), at::kLong),
                       objective.losses(logits, targets).to(at::kCPU, at::kDouble));
  }
  return losses;
}

}  // namespace

Evaluation evaluate(const Transformer& model, Method& method, int64_t k, const EncodedSplit& split,
                    const TaskInfo& task, const FeatureCache& cache) {
  at::NoGradGuard no_grad;
  const auto start = std::chrono::steady_clock::now();
  const Objective& objective = objective_of(task);
  Evaluation result;
  result.tokens = split.offsets.back();
  Answers answers;
  if (objective.logit_rows() != LogitRows::target_tokens) {
    result.logits = answers.logits = split_logits(model, method, k, split, objective.logit_rows(), cache);
    if (const int64_t outputs = result.logits.size(1); outputs != objective.outputs(task))
      throw_error<DataError>("the head has {} outputs, task {} needs {}", outputs, task.name, objective.outputs(task));
    if (!split.hidden) answers.losses = objective.losses(result.logits, targets_of(split));
  } else if (!split.hidden) {
    answers.losses = split_losses(model, method, k, split, objective);
  }
  result.facts = method.end_evaluation();
  if (!split.hidden) {
    int64_t counted = 0;
    for (int64_t e = 0; e < split.size(); ++e) counted += objective.normaliser(split, e);
    result.loss = answers.losses.to(at::kDouble).sum().div(counted).item<double>();
  }
  result.predictions = objective.predict(answers, split);
  result.nonfinite = std::count_if(result.predictions.begin(), result.predictions.end(), is_hidden);
  result.collapsed = objective.collapsed(result.predictions, split);
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

namespace {

/// Values of one part of a split, or of all of it, with what stands behind the names of their metrics.
struct PartValues {
  Scored values;
  std::string suffix = {};  // "_matched"
};

std::vector<PartValues> values_of_parts(const Evaluation& evaluation, const EncodedSplit& split, const TaskInfo& task) {
  std::vector<PartValues> all{{scored(evaluation, split, task)}};
  for (std::size_t p = 0; p < split.part_names.size(); ++p) {
    EncodedSplit part;
    part.target_kind = split.target_kind;
    std::vector<Target> predictions;
    for (const int64_t example : split.examples_of(p)) {
      part.append(split, example);
      predictions.push_back(evaluation.predictions[example]);
    }
    if (!predictions.empty())  // a limit may leave a part without any
      all.push_back({objective_of(task).scored(predictions, part, task), "_" + split.part_names[p]});
  }
  return all;
}

/// The numbers of an example's idx: one, or with those of what holds it as an object.
Json idx_json(const EncodedSplit& split, int64_t example, const TaskInfo& task) {
  const auto outer = split.example_outer_idx(example);
  if (outer.empty()) return split.idx[example];
  Json numbers;
  for (std::size_t i = 0; i < outer.size(); ++i) numbers[task.idx_names[i]] = outer[i];
  numbers[task.idx_names.back()] = split.idx[example];
  return numbers;
}

Json prediction_json(const Target& prediction, const EncodedSplit& split, int64_t example, const TaskInfo& task) {
  const auto* place = std::get_if<int64_t>(&prediction);
  if (split.candidates.empty() || place == nullptr) return target_json(prediction, task);
  return split.candidates[split.first_sequence(example) + *place];
}

}  // namespace

Json score_intervals(const Evaluation& evaluation, const EncodedSplit& split, const TaskInfo& task, int64_t resamples,
                     uint64_t seed) {
  Json intervals = Json::object();
  for (const auto& [values, suffix] : values_of_parts(evaluation, split, task)) {
    for (const std::string& name : task.metrics) {
      const Interval interval = bootstrap_interval(name, values, resamples, seed);
      intervals[name + suffix] = {interval.low, interval.high};
    }
  }
  return intervals;
}

std::vector<std::string> score_names(const EncodedSplit& split, const TaskInfo& task) {
  std::vector<std::string> names = task.metrics;
  for (std::size_t p = 0; p < split.part_names.size(); ++p) {
    if (split.examples_of(p).empty()) continue;
    for (const std::string& name : task.metrics) names.push_back(name + "_" + split.part_names[p]);
  }
  return names;
}

Scored scored(const Evaluation& evaluation, const EncodedSplit& split, const TaskInfo& task) {
  return objective_of(task).scored(evaluation.predictions, split, task);
}

Json majority_scores(const EncodedSplit& split, const TaskInfo& task) {
  const Objective& objective = objective_of(task);
  const TargetKind kind = objective.target();
  if (kind != TargetKind::class_id && kind != TargetKind::classes && kind != TargetKind::choice) return {};
  std::map<Target, int64_t> times;
  for (int64_t e = 0; e < split.size(); ++e) ++times[split.target(e)];
  const auto commonest =
      std::max_element(times.begin(), times.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  const std::vector<Target> always(static_cast<std::size_t>(split.size()), commonest->first);
  const Scored values = objective.scored(always, split, task);
  Json scores{{"prediction", target_json(commonest->first, task)}};
  for (const std::string& name : task.metrics) scores[name] = compute_metric(name, values).value;
  return scores;
}

Json evaluation_metrics(const Evaluation& evaluation, const EncodedSplit& split, const TaskInfo& task) {
  Json metrics = {{"eval_loss", std::isfinite(evaluation.loss) ? Json(evaluation.loss) : Json()},
                  {"eval_samples", split.size()}};
  Json undefined = Json::array();
  for (const auto& [values, suffix] : values_of_parts(evaluation, split, task)) {
    for (const std::string& name : task.metrics) {
      const MetricValue metric = compute_metric(name, values);
      metrics["eval_" + name + suffix] = metric.value;
      if (!metric.undefined.empty()) undefined.push_back(name + suffix);
    }
  }
  metrics["eval_undefined"] = undefined;
  metrics["eval_invalid"] = evaluation.nonfinite;
  metrics["eval_nonfinite"] = evaluation.nonfinite;
  return metrics;
}

void write_predictions(const std::filesystem::path& file, const Evaluation& evaluation, const EncodedSplit& split,
                       const TaskInfo& task) {
  // Those of tokens would make long lines that nobody reads.
  const bool kept = evaluation.logits.defined() && objective_of(task).logit_rows() == LogitRows::sequences;
  const int64_t outputs = kept ? evaluation.logits.size(1) : 0;
  const auto* logits = kept ? evaluation.logits.const_data_ptr<float>() : nullptr;
  write_atomic(file, [&](const std::function<void(std::span<const std::byte>)>& sink) {
    for (int64_t e = 0; e < split.size(); ++e) {
      Json scores = Json::array();
      for (int64_t n = 0; n < split.sequences(e) * outputs; ++n) {
        const float score = logits[split.first_sequence(e) * outputs + n];
        scores.push_back(std::isfinite(score) ? Json(score) : Json());
      }
      Json line = {{"idx", idx_json(split, e, task)},
                   {"prediction", prediction_json(evaluation.predictions[e], split, e, task)}};
      if (kept) line["scores"] = scores;
      if (!split.names.empty() && !split.names[e].empty()) line["id"] = split.names[e];
      if (!split.hidden)
        line["reference"] = split.references.empty() ? target_json(split.target(e), task) : Json(split.references[e]);
      if (!split.groups.empty()) line["group"] = split.groups[e];
      if (!split.part_names.empty()) line["part"] = split.part_names[split.parts[e]];
      const std::string text = line.dump() + "\n";
      sink(std::as_bytes(std::span(text)));
    }
  });
}

}  // namespace peft
