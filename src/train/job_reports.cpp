#include "src/train/job_reports.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "peft/base/memory.h"
#include "peft/data/report.h"
#include "peft/metrics/metrics.h"

namespace peft {
namespace {

std::string pool_name(Pool pool) {
  switch (pool) {
    case Pool::first:
      return "first";
    case Pool::first_of_text:
      return "first_of_text";
    case Pool::last:
      return "last";
    case Pool::last_eos:
      return "last_eos";
    case Pool::mean:
      return "mean";
  }
  return "";
}

}  // namespace

Json split_sizes(const JobData& data) {
  Json sizes = Json::object();
  for (const auto& [name, split] : data.dataset->splits) sizes[name] = split.size();
  return sizes;
}

Json training_metrics(const RunConfig& config, const JobData& data, const JobProgress& progress, const Method& method,
                      int64_t k, double seconds) {
  const JobState& state = progress.state();
  int64_t stored = 0;
  const AdapterFiles files = method.fold(k);
  for (const auto& [name, tensor] : files.tensors) stored += tensor.numel();
  Json metrics = {{"task", data.dataset->task.name},
                  {"method", config.method->type},
                  {"split_sizes", split_sizes(data)},
                  {"train_samples", data.train->size()},
                  {"epoch", progress.epochs_done()},
                  {"global_step", state.step},
                  {"train_loss", Json()},
                  {"train_runtime", seconds},
                  {"peak_memory_bytes", peak_memory_bytes()},
                  {"trainable_parameters", method.trainable_parameters()},
                  {"stored_parameters", stored},
                  {"nonfinite_steps", state.nonfinite_steps},
                  {"skipped", data.train->statistics.skipped}};
  metrics.update(describe_policy(*data.dataset));
  if (state.updates > 0) metrics["train_loss"] = state.loss_sum / static_cast<double>(state.updates);
  if (seconds > 0) {
    metrics["train_samples_per_second"] = static_cast<double>(state.samples) / seconds;
    metrics["train_steps_per_second"] = static_cast<double>(state.step) / seconds;
    metrics["train_tokens_per_second"] = static_cast<double>(state.tokens) / seconds;
  }
  return metrics;
}

Json best_metrics(const RunConfig& config, const JobData& data, const JobProgress& progress,
                  const Evaluation& evaluation) {
  Json metrics = evaluation_metrics(evaluation, *data.dev, data.dataset->task);
  if (const Json majority = majority_scores(*data.dev, data.dataset->task); !majority.is_null())
    metrics["eval_majority"] = majority;
  metrics["best_step"] = progress.state().best_step;
  metrics["best_metric"] = *config.train.metric_for_best_model;
  metrics["eval_samples_per_second"] = static_cast<double>(data.dev->size()) / evaluation.seconds;
  metrics["reported_split"] = "dev";
  if (data.test == nullptr) metrics["note"] = "selected on the reported split";
  return metrics;
}

Json test_metrics(const Evaluation& evaluation, const JobData& data) {
  Json metrics{{"reported_split", "test"}};
  constexpr std::string_view prefix = "eval_";
  const Json scores = evaluation_metrics(evaluation, *data.test, data.dataset->task);
  for (const auto& [key, value] : scores.items()) metrics["test_" + key.substr(prefix.size())] = value;
  if (const Json majority = majority_scores(*data.test, data.dataset->task); !majority.is_null())
    metrics["test_majority"] = majority;
  return metrics;
}

Description description_of(const RunConfig& config, const Bank& bank, const std::string& model_fingerprint) {
  const std::filesystem::path& folder = bank.model.folder();
  std::string base = model_name(folder);
  if (base.empty()) base = std::filesystem::absolute(folder / ".").lexically_normal().parent_path().filename().string();
  return {.task = {.name = config.task.name, .data = {}, .max_length = config.task.max_length},
          .data = config.data,
          .method = config.method->type,
          .pooling = pool_name(bank.method->pool(bank.model.spec().pool)),
          .trainable_parameters = bank.method->trainable_parameters(),
          .base_model = base,
          .fingerprint = model_fingerprint,
          .dtype = config.model.dtype,
          .scores = {}};
}

Json scores_of(const Json& metrics, const EncodedSplit& split, const TaskInfo& task, int64_t step) {
  Json scores = {{"split", split.name}, {"n", split.size()}, {"step", step}, {"loss", metrics.at("eval_loss")}};
  for (const std::string& name : score_names(split, task)) scores[name] = metrics.at("eval_" + name);
  return scores;
}

double score_of(const Json& line, const std::string& metric) {
  const Json& score = line.at("eval_" + metric);
  const Json& undefined = line.at("eval_undefined");  // there a metric is 0, which is the best value of some
  const bool defined = std::find(undefined.begin(), undefined.end(), metric) == undefined.end();
  if (score.is_number() && (defined || !lower_is_better(metric))) return score.get<double>();
  return lower_is_better(metric) ? std::numeric_limits<double>::max() : 0.0;
}

std::optional<std::string> useless_values(const Method& method, int64_t k) {
  const double limit = std::sqrt(std::numeric_limits<float>::max());
  std::vector<at::Tensor> largest;  // a NaN is larger than any number
  for (const Parameter& p : method.parameters()) largest.push_back(p.value.detach()[k].abs().max().to(at::kDouble));
  const at::Tensor all = at::stack(largest).cpu();  // one read, whatever the device
  for (std::size_t i = 0; i < largest.size(); ++i) {
    const double value = all.const_data_ptr<double>()[i];
    if (value < limit) continue;
    return fmt::format("{} has grown to {:.4g}; nothing useful is left in an adapter beyond {:.4g}",
                       method.parameters()[i].name, value, limit);
  }
  return std::nullopt;
}

}  // namespace peft
