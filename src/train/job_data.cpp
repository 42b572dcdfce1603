#include "src/train/job_data.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "peft/base/error.h"
#include "peft/base/log.h"
#include "peft/base/peer_names.h"
#include "peft/data/split_policy.h"

namespace peft {
namespace {

std::shared_ptr<const Dataset> shared_dataset(RunConfig& config, const Tokenizer& tokenizer, Datasets& datasets) {
  const Json json = config.to_json();
  auto& data = datasets[json["task"].dump() + json["data"].dump()];
  if (!data)
    data = std::make_shared<const Dataset>(
        load_dataset(config.task, config.data, tokenizer, run_splits(config.data.split)));
  config.task.name = data->task.name;  // both as load_dataset resolved them
  if (config.data.labels.empty()) config.data.labels = data->task.labels;
  return data;
}

/// For the names of other programs: "eval_loss" is loss, "acc" accuracy.
std::string metric_advice(const std::string& metric, std::vector<std::string> known) {
  known.emplace_back("loss");
  for (const std::string prefix : {"eval_", "dev_", "val_", "validation_"}) {
    const std::string name = metric.starts_with(prefix) ? metric.substr(prefix.size()) : "";
    if (std::find(known.begin(), known.end(), name) != known.end())
      return fmt::format("; names have no \"{}\" in front here: \"{}\"", prefix, name);
  }
  return value_hint("metric", metric, known);
}

}  // namespace

JobData load_job_data(RunConfig& config, const Tokenizer& tokenizer, Datasets& datasets) {
  JobData data{.dataset = shared_dataset(config, tokenizer, datasets)};
  data.train = data.dataset->find("train");
  data.dev = data.dataset->find("dev");
  if (data.train == nullptr) throw_error<DataError>("{}: no train split", config.task.data);
  if (data.train->hidden) throw_error<DataError>("{}: the train split has no labels", config.task.data);
  if (data.dev != nullptr && data.dev->hidden) data.dev = nullptr;
  if (config.data.split.policy != "official") data.test = data.dataset->find("test");
  if (data.test != nullptr && data.test->hidden) {
    log_warning("{}: the test split has no labels: the reported score is that of dev", config.task.data);
    data.test = nullptr;
  }
  const auto& known = data.dataset->task.metrics;
  const std::string metric = config.train.metric_for_best_model.value_or(known.front());
  if (metric != "loss" && std::find(known.begin(), known.end(), metric) == known.end()) {
    throw_error<ConfigError>("train.metric_for_best_model: found \"{}\", expected loss, {}{}", metric,
                             fmt::join(known, ", "), metric_advice(metric, known));
  }
  config.train.metric_for_best_model = metric;
  data.weights = loss_weights(config.train, *data.train, data.dataset->task);
  return data;
}

}  // namespace peft
