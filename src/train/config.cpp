#include "peft/train/config.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "peft/base/error.h"
#include "peft/data/task.h"
#include "peft/methods/method.h"
#include "src/train/config_file.h"
#include "src/train/config_paths.h"

namespace peft {
namespace {

void require(bool holds, const std::string& origin, const std::string& message) {
  if (!holds) throw ConfigError(origin + ": " + message);
}

/// Errors of `body` that do not name the file yet do so.
template <class Body>
void named(const std::string& origin, const Body& body) {
  try {
    body();
  } catch (const ConfigError& error) {
    const std::string message = error.what();
    throw ConfigError(message.starts_with(origin) ? message : origin + ": " + message);
  }
}

void compare(const Json& a, const Json& b, const std::string& path, std::string& found) {
  if (!found.empty() || a == b) return;
  if (!a.is_object() || !b.is_object()) {
    found = path;
    return;
  }
  std::vector<std::string> keys;
  for (const auto& [key, value] : a.items()) keys.push_back(key);
  for (const auto& [key, value] : b.items()) {
    if (!a.contains(key)) keys.push_back(key);
  }
  for (const std::string& key : keys) {
    compare(a.value(key, Json()), b.value(key, Json()), path.empty() ? key : path + "." + key, found);
  }
}

}  // namespace

void ModelConfig::visit(Fields& fields) {
  fields.field("path", path,
               {.help = "folder of a pretrained model as Hugging Face saves it, or its name in Hugging Face's cache",
                .required = true});
  fields.field("dtype", dtype,
               {.help = "of the frozen weights and activations; auto: the folder's",
                .choices = {"float32", "bfloat16", "auto"}});
  fields.field(
      "attn_implementation", attn_implementation,
      {.help = "what computes attention; auto: the fastest that serves device and dtype, packed: prefixes, states "
               "and short sequences by our own CUDA kernels, which serve dropout on probabilities too",
       .choices = {kAttentionImplementations.begin(), kAttentionImplementations.end()}});
  fields.field(
      "use_kernels", use_kernels,
      {.help = "first rows, norms, dropout, low-rank additions, loss and AdamW by our own CUDA kernels (attention: "
               "attn_implementation)"});
  fields.field("dropout", dropout,
               {.help = "\"checkpoint\": the probabilities of the model's config.json; a number replaces them all"});
}

void TrainConfig::visit(Fields& fields) {
  fields.field("learning_rate", learning_rate,
               {.help = "peak rate of every parameter group; absent: the method's own", .min = 0, .per_job = true});
  fields.field("learning_rates", learning_rates,
               {.help = fmt::format("group ({}) -> peak rate, wins over learning_rate", fmt::join(kRateGroups, ", ")),
                .min = 0,
                .per_job = true});
  fields.field("lr_scheduler_type", lr_scheduler_type,
               {.help = "shape of the rate over the steps",
                .choices = {"linear", "cosine", "constant", "constant_with_warmup"},
                .per_job = true});
  fields.field("warmup_steps", warmup_steps,
               {.help = "steps over which the rate rises from 0; wins over warmup_ratio", .min = 0, .per_job = true});
  fields.field("warmup_ratio", warmup_ratio,
               {.help = "the same as a share of all steps", .min = 0, .max = 1, .per_job = true});
  fields.field("num_train_epochs", num_train_epochs,
               {.help = "passes over the training examples", .min = 0, .min_exclusive = true, .per_job = true});
  fields.field("max_steps", max_steps,
               {.help = "optimiser steps; wins over num_train_epochs when positive", .min = -1, .per_job = true});
  fields.field("batch_size", batch_size, {.help = "examples in a micro-batch (default 32)", .min = 1});
  fields.field("batch_tokens", batch_tokens,
               {.help = "token budget of a micro-batch, in place of batch_size", .min = 1});
  fields.field("gradient_accumulation_steps", gradient_accumulation_steps,
               {.help = "micro-batches in a step", .min = 1});
  fields.field("optim", optim, {.help = "optimiser", .choices = {"adamw", "sgd"}});
  fields.field("weight_decay", weight_decay,
               {.help = "decoupled decay; skips biases and norm weights", .min = 0, .per_job = true});
  fields.field("adam_beta1", adam_beta1,
               {.help = "decay of the first moment", .min = 0, .max = 1, .max_exclusive = true, .per_job = true});
  fields.field("adam_beta2", adam_beta2,
               {.help = "decay of the second moment", .min = 0, .max = 1, .max_exclusive = true, .per_job = true});
  fields.field("adam_epsilon", adam_epsilon,
               {.help = "added to the root of the second moment", .min = 0, .min_exclusive = true, .per_job = true});
  fields.field("momentum", momentum,
               {.help = "of optim \"sgd\"", .min = 0, .max = 1, .max_exclusive = true, .per_job = true});
  fields.field("max_grad_norm", max_grad_norm,
               {.help = "gradients of an adapter are scaled down to this norm; 0: never", .min = 0, .per_job = true});
  fields.field(
      "class_weights", class_weights,
      {.help = "label -> weight of its examples in the loss; \"balanced\": all classes together count the same "
               "(n / (classes * n of the class)); absent: 1",
       .per_job = true});
  fields.field("label_smoothing_factor", label_smoothing_factor,
               {.help = "share of each label that is spread over all classes, in training alone",
                .min = 0,
                .max = 1,
                .max_exclusive = true,
                .per_job = true});
  fields.field("seed", seed,
               {.help = "names every random stream: start values, head, order, dropout", .min = 0, .per_job = true});
  fields.field("data_seed", data_seed,
               {.help = "names the order of the examples in place of seed", .min = 0, .per_job = true});
  fields.field("device", device,
               {.help = "auto: a GPU where this build and machine have one", .choices = {"auto", "cpu", "cuda"}});
  fields.field(
      "num_threads", num_threads,
      {.help = "CPU threads; 0: OMP_NUM_THREADS, else as many as affinity mask and cgroup quota allow; on some "
               "processors the last bits of a result depend on it",
       .min = 0,
       .changes_numbers = false});
  fields.field("eval_steps", eval_steps,
               {.help = "evaluate every n steps; 0: only at the end; absent: every epoch", .min = 0, .per_job = true});
  fields.field("save_steps", save_steps,
               {.help = "checkpoint every n steps; 0: only at the end; absent: every epoch",
                .min = 0,
                .per_job = true,
                .changes_numbers = false});
  fields.field("logging_steps", logging_steps,
               {.help = "log every n steps", .min = 1, .per_job = true, .changes_numbers = false});
  fields.field("early_stopping_patience", early_stopping_patience,
               {.help = "stop after this many evaluations in a row without a better score", .min = 1, .per_job = true});
  fields.field("metric_for_best_model", metric_for_best_model,
               {.help = "what chooses best/; absent: the task's first metric", .per_job = true});
}

double TrainConfig::rate_of(const std::string& group) const {
  const auto it = learning_rates.find(group);
  return it == learning_rates.end() ? learning_rate.value() : it->second;
}

void RunConfig::visit(Fields& fields) {
  fields.field("model", model, {.help = "the frozen network"});
  fields.field("task", task, {.help = "what is learned"});
  fields.field("data", data, {.help = "how examples are read and split", .per_job = true});
  fields.section("method", {.help = "the trainable module", .required = true},
                 [this](Fields& inner) { method.visit(inner); });
  fields.field("train", train, {.help = "optimisation"});
  fields.field("output", output,
               {.help = "the run folder", .required = true, .per_job = true, .changes_numbers = false});
}

namespace {

/// Checked, its paths as they are written.
RunConfig parse_config(const Json& json, const std::string& origin) {
  RunConfig config;
  named(origin, [&] {
    parse_fields([&](Fields& fields) { config.visit(fields); }, json, origin, {"$schema", "provenance"});
  });
  TrainConfig& train = config.train;
  require(!(train.batch_size && train.batch_tokens), origin,
          "train.batch_tokens: stands in place of train.batch_size, found both");
  if (!train.batch_size && !train.batch_tokens) train.batch_size = 32;
  require(train.lr_scheduler_type != "constant" || (train.warmup_steps == 0 && train.warmup_ratio == 0), origin,
          "train.lr_scheduler_type: \"constant\" has no warm-up; use \"constant_with_warmup\"");
  require(train.max_steps != 0, origin,
          "train.max_steps: found 0, expected a positive number, or -1 for num_train_epochs");
  require(train.momentum == 0 || train.optim == "sgd", origin, "train.momentum: only with optim \"sgd\"");
  const Json& weights = train.class_weights;
  require(weights.is_null() || weights.is_object() || weights == "balanced", origin,
          "train.class_weights: found " + weights.dump() + ", expected \"balanced\" or label -> weight");
  if (weights.is_object()) {
    for (const auto& [label, weight] : weights.items()) {
      require(weight.is_number() && weight >= 0.0, origin,
              fmt::format("train.class_weights.{}: found {}, expected a number >= 0", label, weight.dump()));
    }
  }
  for (const auto& [group, rate] : train.learning_rates) {
    require(std::find(kRateGroups.begin(), kRateGroups.end(), group) != kRateGroups.end(), origin,
            fmt::format("train.learning_rates.{}: unknown group (known: {})", group, fmt::join(kRateGroups, ", ")));
  }
  SplitConfig& split = config.data.split;
  if ((split.k_shot || split.k_shot_total) && !split.k_shot_seed) split.k_shot_seed = train.seed;
  const Json& dropout = config.model.dropout;
  require(dropout == "checkpoint" || (dropout.is_number() && dropout >= 0.0 && dropout < 1.0), origin,
          "model.dropout: found " + dropout.dump() + ", expected \"checkpoint\" or a number >= 0 and < 1");
  require(config.task.max_length >= 1, origin,
          "task.max_length: found " + std::to_string(config.task.max_length) + ", expected at least 1");
  named(origin + ": task.name", [&] { resolve_task_name(config.task.name); });
  require(!config.model.path.empty(), origin, "model.path: found \"\", expected a folder");
  require(!config.output.empty(), origin, "output: found \"\", expected a folder");
  named(origin, [&] { config.method->validate(); });
  if (!train.learning_rate) {
    train.learning_rate = config.method->learning_rate();
    if (train.learning_rates.empty()) train.learning_rates = config.method->learning_rates();
  }
  return config;
}

}  // namespace

RunConfig RunConfig::from_json(const Json& json, const std::string& origin) {
  RunConfig config = parse_config(json, origin);
  resolve_paths(config, origin);
  return config;
}

RunConfig read_run_config(const Json& json, const std::string& origin) {
  RunConfig config = parse_config(json, origin);
  check_paths(config, origin);
  resolve_paths(config, origin);
  return config;
}

RunConfig RunConfig::read(const std::filesystem::path& file, const std::vector<std::string>& sets) {
  const Json json = read_config_file(file, sets);
  require(!json.is_object() || !json.contains("sweep"), file.string(),
          "sweep: this is a sweep config; peft-sweep --config trains its runs");
  return read_run_config(json, file.string());
}

Json RunConfig::to_json(const FieldFilter& wanted) const {
  RunConfig copy = *this;
  return print_fields([&](Fields& fields) { copy.visit(fields); }, wanted);
}

bool outputs_from_file(const TaskConfig& task) {
  return task_registry().at(resolve_task_name(task.name)).labels_from_files();
}

namespace {

/// Full names, and the short ones of benchmarks' tasks.
std::vector<std::string> task_names() {
  std::vector<std::string> names;
  for (const std::string& name : task_registry().names()) {
    names.push_back(name);
    const std::string last = name.substr(name.find('/') + 1);
    if (last != name && resolve_task_name(last) == name) names.push_back(last);
    for (const std::string& other : task_registry().at(name).other_names) names.push_back(other);
  }
  return names;
}

}  // namespace

std::string first_difference(const Json& a, const Json& b) {
  std::string found;
  compare(a, b, "", found);
  return found;
}

Json run_config_schema() {
  RunConfig config;
  Json schema = schema_fields([&](Fields& fields) { config.visit(fields); });
  Json alternatives = Json::array();
  for (const std::string& name : methods().names()) {
    const auto method = methods().at(name).config();
    method->type = name;
    Json section = schema_fields([&](Fields& fields) { method->visit(fields); });
    section["properties"]["type"] = {{"const", name}};
    alternatives.push_back(section);
  }
  schema["properties"]["method"] = {{"oneOf", alternatives}};
  schema["properties"]["task"]["properties"]["name"]["enum"] = task_names();
  const Json grid = {
      {"type", "object"}, {"minProperties", 1}, {"additionalProperties", {{"type", "array"}, {"minItems", 1}}}};
  schema["properties"]["sweep"] = {
      {"description", "of peft-sweep alone: key path -> list of values, or a list of such grids"},
      {"oneOf", Json::array({grid, {{"type", "array"}, {"minItems", 1}, {"items", grid}}})}};
  schema["properties"]["$schema"] = {{"type", "string"},
                                     {"description", "where an editor finds this schema; ignored on input"}};
  schema["properties"]["provenance"] = {{"type", "object"},
                                        {"description", "versions and fingerprints; ignored on input"}};
  schema["$schema"] = "https://json-schema.org/draft/2020-12/schema";
  schema["title"] = "peft.cpp run config";
  return schema;
}

}  // namespace peft
