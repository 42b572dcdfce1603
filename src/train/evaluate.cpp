#include "peft/train/evaluate.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "peft/base/error.h"
#include "peft/base/files.h"
#include "peft/train/batch.h"

namespace peft {
namespace {

bool row_finite(const float* row, int64_t n) {
  return std::all_of(row, row + n, [](float x) { return std::isfinite(x); });
}

}  // namespace

Evaluation evaluate(const Transformer& model, Method& method, int64_t k, const EncodedSplit& split,
                    const TaskInfo& task, const FeatureCache& cache) {
  at::NoGradGuard no_grad;
  const auto start = std::chrono::steady_clock::now();
  const DropoutContext no_dropout;
  const int64_t outputs = task.outputs();
  Evaluation result;
  result.logits = at::empty({split.size(), outputs}, at::kFloat);
  auto* logits = result.logits.data_ptr<float>();

  for (const std::vector<int64_t>& batch : length_batches(split, method.virtual_tokens())) {
    std::vector<BatchRow> rows;
    for (const int64_t row : batch) {
      rows.push_back({&split, row, k, 0});
      result.tokens += split.length(row);
    }
    const at::Tensor out = classify_rows(model, method, rows, no_dropout, cache).to(at::kCPU, at::kFloat).contiguous();
    if (out.size(1) != outputs)
      throw_error<DataError>("the head has {} outputs, task {} needs {}", out.size(1), task.name, outputs);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      std::copy_n(out.data_ptr<float>() + static_cast<int64_t>(i) * outputs, outputs, logits + rows[i].row * outputs);
    }
  }
  result.facts = method.end_evaluation();

  std::vector<int64_t> counts(std::max<int64_t>(outputs, 1));
  for (int64_t r = 0; r < split.size(); ++r) {
    const float* row = logits + r * outputs;
    const bool finite = row_finite(row, outputs);
    result.nonfinite += !finite;
    if (task.regression) {
      result.predictions.push_back(finite ? row[0] : std::nan(""));
    } else {
      const auto best = std::max_element(row, row + outputs) - row;  // ties: the lower class
      result.predictions.push_back(finite ? static_cast<double>(best) : -1.0);
      if (finite) ++counts[best];
    }
  }
  result.collapsed = !task.regression && split.size() > 1 && split.statistics.label_counts.size() > 1 &&
                     std::count_if(split.statistics.label_counts.begin(), split.statistics.label_counts.end(),
                                   [](int64_t c) { return c > 0; }) > 1 &&
                     *std::max_element(counts.begin(), counts.end()) == split.size();
  if (!split.hidden && split.size() > 0)
    result.loss = sequence_losses(result.logits, split.labels, task.regression).to(at::kDouble).mean().item<double>();
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

Scored scored(const Evaluation& evaluation, const EncodedSplit& split, const TaskInfo& task) {
  return {evaluation.predictions, split.labels, {}, task.regression ? 0 : task.outputs()};
}

Json evaluation_metrics(const Evaluation& evaluation, const EncodedSplit& split, const TaskInfo& task) {
  Json metrics = {{"eval_loss", std::isfinite(evaluation.loss) ? Json(evaluation.loss) : Json()},
                  {"eval_samples", split.size()}};
  const Scored values = scored(evaluation, split, task);
  Json undefined = Json::array();
  for (const std::string& name : task.metrics) {
    const MetricValue metric = compute_metric(name, values);
    metrics["eval_" + name] = metric.value;
    if (!metric.undefined.empty()) undefined.push_back(name);
  }
  metrics["eval_undefined"] = undefined;
  metrics["eval_invalid"] = evaluation.nonfinite;
  metrics["eval_nonfinite"] = evaluation.nonfinite;
  return metrics;
}

void write_predictions(const std::filesystem::path& file, const Evaluation& evaluation, const EncodedSplit& split,
                       const TaskInfo& task) {
  const auto value = [&](double v) -> Json {
    if (task.regression) return std::isfinite(v) ? Json(v) : Json();
    return v >= 0 && v < static_cast<double>(task.labels.size()) ? Json(task.labels[static_cast<std::size_t>(v)])
                                                                 : Json();
  };
  const int64_t outputs = evaluation.logits.size(1);
  const auto* logits = evaluation.logits.const_data_ptr<float>();
  write_atomic(file, [&](const std::function<void(std::span<const std::byte>)>& sink) {
    for (int64_t r = 0; r < split.size(); ++r) {
      Json scores = Json::array();
      for (int64_t n = 0; n < outputs; ++n) {
        const float score = logits[r * outputs + n];
        scores.push_back(std::isfinite(score) ? Json(score) : Json());
      }
      Json line = {{"idx", split.idx[r]}, {"prediction", value(evaluation.predictions[r])}, {"scores", scores}};
      if (!split.hidden) line["reference"] = value(split.labels[r]);
      const std::string text = line.dump() + "\n";
      sink(std::as_bytes(std::span(text)));
    }
  });
}

}  // namespace peft
