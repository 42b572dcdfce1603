#include "src/train/setup.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/ranges.h>
#include <torch/headeronly/version.h>

#include <algorithm>

#include "peft/base/cores.h"
#include "peft/base/log.h"
#include "peft/interop/adapter_folder.h"
#include "peft/interop/labels.h"
#include "peft/train/batch.h"
#include "peft/train/open_model.h"

namespace peft {
namespace {

/// Fields that are equal in all jobs of a bank (docs/methods.md#the-bank).
bool shared_in_bank(const FieldInfo& info) { return !info.per_job; }

/// Where the head starts from the checkpoint's own, or is that, its rows stand where the task has their names.
void order_own_head(const Bank& bank, int64_t k, const std::vector<std::string>& labels, const MethodConfig& config) {
  const auto outputs = static_cast<int64_t>(labels.size());
  const auto& head = bank.method->head() != nullptr ? *bank.method->head() : bank.model.spec().head();
  const auto layer = std::find_if(head.begin(), head.end(), [](const HeadLayer& l) { return l.to_labels; });
  const Linear* own = layer == head.end() ? nullptr : bank.model.head_linear(layer->module);
  if (own == nullptr || own->out_features() != outputs) return;  // drawn anew
  const bool frozen = config.modules_to_save.is_array() && config.modules_to_save.empty();
  const std::vector<std::string> names = model_labels(bank.model.folder(), outputs);
  if (names.empty() && !frozen) return;  // rows that train find their classes
  const std::string file = (bank.model.folder() / "config.json").string();
  try {
    order_labels(bank.model, *bank.method, k, names, labels, file);
  } catch (const DataError& error) {
    if (frozen) throw;
    log_warning("{}; the trained head starts from its rows in their order", error.what());
  }
}

/// Slice k starts from init_from, where the config names one.
void start_from(const AdapterStore& store, Method& method, int64_t k, const MethodConfig& config) {
  if (!config.init_from) return;
  try {
    store.restore(*config.init_from, method, k, config.init_head);
  } catch (const ConfigError& error) {
    throw_error<ConfigError>("method.init_from: {}", error.what());
  }
}

/// Of the layers whose outputs a cache would hold.
double body_dropout(const Bank& bank) { return bank.model.spec().dropout.largest(); }

void check_caching(const Bank& bank, LogitRows rows) {  // before anything is written
  if (bank.method->feature_caching() != FeatureCaching::always) return;
  if (rows != LogitRows::sequences)
    throw ConfigError("method.cache_features: true keeps one row a text, but this task reads its tokens");
  if (body_dropout(bank) > 0)
    throw_error<ConfigError>("method.cache_features: true needs model.dropout 0, the model's is {}",
                             body_dropout(bank));
}

}  // namespace

void check_bank(const std::vector<RunConfig>& configs) {
  if (configs.empty()) throw ConfigError("a bank needs at least one run");
  const auto decisive = [](const FieldInfo& info) { return shared_in_bank(info) && changes_numbers(info); };
  const Json first = configs.front().to_json(decisive);
  for (const RunConfig& config : configs) {
    if (const std::string key = first_difference(first, config.to_json(decisive)); !key.empty()) {
      throw_error<ConfigError>("{}: runs of one bank may not differ in this key ({} and {})", key,
                               configs.front().output, config.output);
    }
  }
  for (std::size_t i = 0; i < configs.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (configs[i].output == configs[j].output)
        throw_error<ConfigError>("output: two runs of a bank write to {}", configs[i].output);
    }
  }
}

std::string bank_key(const RunConfig& config) {
  Json json = config.to_json(shared_in_bank);
  // Other files and columns may mean another number of outputs.
  const bool from_file = outputs_from_file(config.task);
  if (from_file) json["task"]["data"] = config.task.data;
  if (from_file || !config.data.files.empty()) json["data"] = config.to_json()["data"];
  return json.dump();
}

void set_threads(const TrainConfig& config) {
  at::set_num_threads(config.num_threads > 0 ? static_cast<int>(config.num_threads) : default_threads());
}

Bank open_bank(const RunConfig& config) {
  auto [model, tokenizer] = open_model(config.model, choose_device(config.train.device, "train.device"));
  Bank bank{std::move(model), std::move(tokenizer), nullptr, nullptr};
  const auto special = static_cast<int64_t>(bank.tokenizer->encode("").ids.size());
  if (config.task.max_length < special) {
    throw_error<ConfigError>("task.max_length: found {}, expected at least {}, the special tokens of a text",
                             config.task.max_length, special);
  }
  return bank;
}

void attach_method(Bank& bank, const std::vector<std::unique_ptr<Job>>& jobs) {
  BankSpec spec;
  const TaskInfo& task = jobs.front()->data().task;
  if (objective_of(task).logit_rows() == LogitRows::target_tokens && !bank.model.spec().output) {
    throw_error<DataError>("{}: {} gives no logits over a vocabulary, {} needs them", bank.model.folder().string(),
                           bank.model.spec().model_type, task.name);
  }
  spec.outputs = objective_of(task).outputs(task);
  if (spec.outputs > 0) bank.model.choose_head(objective_of(task).head());
  spec.max_length = jobs.front()->config().task.max_length;
  spec.tokenizer = bank.tokenizer.get();
  spec.read_folder = [](const std::string& folder) { return read_adapter(find_adapter(folder)); };
  std::vector<Optimizer::Hyperparameters> train;
  for (const auto& job : jobs) {
    const int64_t outputs = objective_of(job->data().task).outputs(job->data().task);
    if (outputs != spec.outputs || job->data().task.objective != task.objective)
      throw_error<ConfigError>("task.data: runs of one bank need the same outputs, found {} ({}) and {} ({})",
                               spec.outputs, task.objective, outputs, job->data().task.objective);
    spec.configs.push_back(&*job->config().method);
    spec.seeds.push_back(static_cast<uint64_t>(job->config().train.seed));
    train.push_back({&job->config().train, job->progress().schedule()});
  }
  bank.method = make_method(bank.model, spec);
  if (bank.method->parameters().empty())
    throw_error<ConfigError>("method.modules_to_save: found {}, but \"{}\" trains nothing else",
                             spec.configs.front()->modules_to_save.dump(), spec.configs.front()->type);
  check_caching(bank, objective_of(task).logit_rows());

  const int64_t usable = bank.model.spec().embedding().usable_positions(), taken = bank.method->virtual_tokens();
  for (const auto& job : jobs) {
    if (job->config().task.max_length + taken > usable) {
      throw_error<ConfigError>(
          "task.max_length: found {}, expected at most {} (the model has {} positions, the method takes {})",
          job->config().task.max_length, usable - taken, usable, taken);
    }
    for (const EncodedSplit* split : {&job->train_split(), job->dev_split(), job->test_split()})
      if (split != nullptr) check_targets(objective_of(task), *split, bank.model.spec(), taken);
  }
  // On --resume too: what a method holds frozen, such as the label layer of modules_to_save [], is in no checkpoint.
  for (std::size_t k = 0; k < jobs.size(); ++k) {
    const std::vector<std::string>& labels = jobs[k]->data().task.labels;
    order_own_head(bank, static_cast<int64_t>(k), labels, *spec.configs[k]);
    start_from({bank.model, labels}, *bank.method, static_cast<int64_t>(k), *spec.configs[k]);
  }
  bank.optimizer = std::make_unique<Optimizer>(*bank.method, std::move(train), bank.model.execution().custom_kernels);
}

double cache_features(Bank& bank, const std::vector<std::unique_ptr<Job>>& jobs, std::size_t batches) {
  constexpr int64_t kLargest = int64_t{1} << 30;  // bytes of a split's features that are worth keeping unasked
  const FeatureCaching wanted = bank.method->feature_caching();
  const LogitRows rows = objective_of(jobs.front()->data().task).logit_rows();
  if (wanted == FeatureCaching::never || body_dropout(bank) > 0 || rows != LogitRows::sequences) return 1.0;
  std::size_t all = 0, done = 0;
  const int64_t row_bytes = bank.model.spec().width() * static_cast<int64_t>(sizeof(float));
  for (const auto& job : jobs) {
    const auto add = [&](const EncodedSplit& split, bool gains) {
      if (wanted != FeatureCaching::always && (!gains || split.sequences() * row_bytes > kLargest)) return;
      const std::size_t count = length_batches(split, 0).size();
      all += count;
      done += std::min(count, batches);
      bank.features.add(bank.model, split, batches);
    };
    add(job->train_split(), job->progress().total_steps() > job->progress().steps_in_epoch());
    if (job->dev_split() != nullptr) add(*job->dev_split(), true);
  }
  return all == 0 ? 1.0 : static_cast<double>(done) / static_cast<double>(all);
}

Json make_provenance(const Bank& bank) {
  return {{"library", "peft.cpp"},
          {"version", PEFT_VERSION},
          {"torch", TORCH_VERSION},
          {"model", bank.model.fingerprint()},
          {"tokenizer", bank.tokenizer->fingerprint()}};
}

}  // namespace peft
