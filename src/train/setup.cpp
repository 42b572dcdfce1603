#include "src/train/setup.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/ranges.h>
#include <torch/headeronly/version.h>

#include <algorithm>
#include <thread>

#include "peft/base/log.h"
#include "peft/data/task.h"
#include "peft/interop/adapter_folder.h"
#include "peft/objectives/objective.h"

namespace peft {
namespace {

/// Keys in which the jobs of one bank may differ (docs/methods.md#the-bank).
void erase_free_keys(Json& config) {
  for (const char* key : {"learning_rate", "learning_rates",   "weight_decay",  "lr_scheduler_type",
                          "warmup_steps",  "warmup_ratio",     "max_grad_norm", "seed",
                          "data_seed",     "num_train_epochs", "max_steps",     "adam_beta1",
                          "adam_beta2",    "adam_epsilon",     "momentum",      "early_stopping_patience",
                          "eval_steps",    "save_steps",       "logging_steps", "metric_for_best_model"}) {
    config["train"].erase(key);
  }
  for (const char* key : {"lora_alpha", "alpha_pattern", "lora_dropout", "prompt_dropout", "prefix_dropout",
                          "encoder_dropout", "offset_dropout", "feature_dropout", "prompt_tuning_init",
                          "prompt_tuning_init_text", "init_text", "init_from", "init_head"}) {
    config["method"].erase(key);
  }
  for (const char* key : {"data", "output"}) config.erase(key);
  config["task"].erase("data");
}

Json without_free_keys(const RunConfig& config) {
  Json json = config.to_json();
  erase_free_keys(json);
  return json;
}

at::Device parse_device(const std::string& name) {
  const bool available = at::globalContext().hasCUDA();
  if (name == "cuda" && !available) {
    throw_error<ConfigError>(
        "train.device: found \"cuda\", but this machine or build has no CUDA device (configure with -DPEFT_CUDA=ON)");
  }
  return name != "cpu" && available ? at::Device(at::kCUDA, 0) : at::Device(at::kCPU);
}

using Tensors = std::map<std::string, at::Tensor>;

/// What init_from holds and this method has no place for.
void warn_of_unused(const Tensors& found, const Tensors& own, const std::string& origin) {
  std::vector<std::string> unused;
  for (const auto& [name, tensor] : found) {
    if (!own.contains(name)) unused.push_back(name);
  }
  if (!unused.empty()) log_warning("method.init_from: {}: not used: {}", origin, fmt::join(unused, ", "));
}

/// Slice k starts from init_from, where the config names one.
void start_from(Method& method, int64_t k, const MethodConfig& config) {
  if (!config.init_from) return;
  if (method.writes_model_folder()) {
    method.load(k, read_model_folder(*config.init_from), config.init_head);
    return;
  }
  const AdapterFiles files = read_adapter(find_adapter(*config.init_from));
  if (method.folds()) {
    if (files.trained_type != config.type) {
      throw_error<ConfigError>("method.init_from: {} holds {}, the method is {}", files.origin,
                               files.trained.empty() ? "no trained.safetensors (a folded adapter cannot be trained on)"
                                                     : "trained values of " + files.trained_type,
                               config.type);
    }
    method.load_trained(k, files.trained, files.origin + "/trained.safetensors", config.init_head);
    warn_of_unused(files.trained, method.trained_tensors(k), files.origin);
    return;
  }
  const auto source = recognise_adapter(files);
  if (!method.starts_from(*source)) {
    throw_error<ConfigError>("method.init_from: {} holds a {} adapter, the method is {}", files.origin, source->type,
                             config.type);
  }
  method.load(k, files, config.init_head);
  warn_of_unused(files.tensors, method.fold(k).tensors, files.origin);
}

/// Of the layers whose outputs a cache would hold.
double body_dropout(const Bank& bank) { return bank.model.spec().dropout.largest(); }

void check_caching(const Bank& bank) {  // before anything is written
  if (bank.method->feature_caching() == FeatureCaching::always && body_dropout(bank) > 0)
    throw_error<ConfigError>("method.cache_features: true needs model.dropout 0, the model's is {}",
                             body_dropout(bank));
}

}  // namespace

void check_bank(const std::vector<RunConfig>& configs) {
  if (configs.empty()) throw ConfigError("a bank needs at least one run");
  const Json first = without_free_keys(configs.front());
  for (const RunConfig& config : configs) {
    if (const std::string key = first_difference(first, without_free_keys(config)); !key.empty()) {
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
  Json json = without_free_keys(config);
  // Where the file decides the labels, other files and columns may mean another number of outputs.
  const bool from_file = task_registry().at(resolve_task_name(config.task.name)).labels_from_files();
  if (from_file) json["task"]["data"] = config.task.data;
  if (from_file || !config.data.files.empty()) json["data"] = config.to_json()["data"];
  return json.dump();
}

void set_threads(const TrainConfig& config) {
  at::set_num_threads(config.num_threads > 0 ? static_cast<int>(config.num_threads)
                                             : std::max(1, static_cast<int>(std::thread::hardware_concurrency())));
}

Bank load_backbone(const RunConfig& config) {
  Bank bank{Transformer::load(config.model.path, config.model.dtype, parse_device(config.train.device)),
            Tokenizer::load(config.model.path), nullptr, nullptr};
  if (config.model.dropout.is_number()) bank.model.override_dropout(config.model.dropout.get<double>());
  const auto wish = attention_implementation(config.model.attn_implementation);
  const std::string backend = bank.model.set_attention(wish);
  if (wish != AttentionImplementation::automatic || bank.model.device().is_cuda())  // a CPU has one
    log_info("attention: {}", backend);
  if (config.model.use_kernels) bank.model.use_custom_kernels();
  const int64_t rows = bank.model.spec().embedding().vocabulary;
  if (bank.tokenizer->size() > rows) {
    throw_error<DataError>("{}: the tokenizer has {} ids, the word embeddings {} rows", config.model.path,
                           bank.tokenizer->size(), rows);
  }
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
  spec.outputs = objective_of(task).outputs(task);
  spec.max_length = jobs.front()->config().task.max_length;
  spec.tokenizer = bank.tokenizer.get();
  spec.read_folder = [](const std::string& folder) { return read_adapter(find_adapter(folder)); };
  std::vector<Optimizer::Job> train;
  for (const auto& job : jobs) {
    const int64_t outputs = objective_of(job->data().task).outputs(job->data().task);
    if (outputs != spec.outputs || job->data().task.objective != task.objective)
      throw_error<ConfigError>("task.data: runs of one bank need the same outputs, found {} ({}) and {} ({})",
                               spec.outputs, task.objective, outputs, job->data().task.objective);
    spec.configs.push_back(&*job->config().method);
    spec.seeds.push_back(static_cast<uint64_t>(job->config().train.seed));
    train.push_back({&job->config().train, job->schedule()});
  }
  bank.method = make_method(bank.model, spec);
  if (bank.method->parameters().empty())
    throw_error<ConfigError>("method.modules_to_save: found {}, but \"{}\" trains nothing else",
                             spec.configs.front()->modules_to_save.dump(), spec.configs.front()->type);
  check_caching(bank);

  const int64_t usable = bank.model.spec().embedding().usable_positions(), taken = bank.method->virtual_tokens();
  for (const auto& job : jobs) {
    if (job->config().task.max_length + taken > usable) {
      throw_error<ConfigError>(
          "task.max_length: found {}, expected at most {} (the model has {} positions, the method takes {})",
          job->config().task.max_length, usable - taken, usable, taken);
    }
    for (const EncodedSplit* split : {&job->train_split(), job->dev_split()})
      if (split != nullptr)
        objective_of(task).check_targets(*split, bank.model.spec().embedding.vocabulary, usable - taken);
  }
  // On --resume too: what a method holds frozen, such as the label layer of modules_to_save [], is in no checkpoint.
  for (std::size_t k = 0; k < jobs.size(); ++k) start_from(*bank.method, static_cast<int64_t>(k), *spec.configs[k]);
  bank.optimizer = std::make_unique<Optimizer>(*bank.method, std::move(train), bank.model.execution().custom_kernels);
}

void cache_features(Bank& bank, const std::vector<std::unique_ptr<Job>>& jobs) {
  constexpr int64_t kLargest = int64_t{1} << 30;  // bytes of a split's features that are worth keeping unasked
  const FeatureCaching wanted = bank.method->feature_caching();
  if (wanted == FeatureCaching::never || body_dropout(bank) > 0) return;
  const int64_t row_bytes = bank.model.spec().width() * static_cast<int64_t>(sizeof(float));
  for (const auto& job : jobs) {
    const auto add = [&](const EncodedSplit& split, bool gains) {
      if (wanted == FeatureCaching::always || (gains && split.sequences() * row_bytes <= kLargest))
        bank.features.add(bank.model, split);
    };
    add(job->train_split(), job->total_steps() > job->steps_in_epoch());
    if (job->dev_split() != nullptr) add(*job->dev_split(), true);
  }
}

Json make_provenance(const Bank& bank) {
  return {{"library", "peft.cpp"},
          {"version", PEFT_VERSION},
          {"torch", TORCH_VERSION},
          {"model", bank.model.fingerprint()},
          {"tokenizer", bank.tokenizer->fingerprint()}};
}

}  // namespace peft
