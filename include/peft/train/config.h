#pragma once
/// A run config: the sections `model`, `task`, `data`, `method`, `train`, and the run folder `output`. Names and meanings are those of
/// transformers' TrainingArguments and of peft wherever they have one.

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "peft/base/fields.h"
#include "peft/data/config.h"
#include "peft/methods/config.h"

namespace peft {

struct ModelConfig {
  std::string path, dtype = "float32", attn_implementation = "auto";
  bool use_kernels = false;
  Json dropout = "checkpoint";  ///< or a number, everywhere
  void visit(Fields& fields);
};

struct TrainConfig {
  std::optional<double> learning_rate;           ///< absent only until the method's own is known
  std::map<std::string, double> learning_rates;  ///< group -> rate, wins over learning_rate
  std::string lr_scheduler_type = "linear";
  int64_t warmup_steps = 0;
  double warmup_ratio = 0.0;
  double num_train_epochs = 3.0;
  int64_t max_steps = -1;
  std::optional<int64_t> batch_size, batch_tokens;
  int64_t gradient_accumulation_steps = 1;
  std::string optim = "adamw";
  double weight_decay = 0.0, adam_beta1 = 0.9, adam_beta2 = 0.999, adam_epsilon = 1e-8, momentum = 0.0,
         max_grad_norm = 1.0;
  Json class_weights;  ///< null, "balanced", or label -> weight
  double label_smoothing_factor = 0.0;
  int64_t seed = 42;
  std::optional<int64_t> data_seed;
  std::string device = "auto";
  int64_t num_threads = 0;
  std::optional<int64_t> eval_steps, save_steps;
  int64_t logging_steps = 10;
  std::optional<int64_t> early_stopping_patience;
  std::optional<std::string> metric_for_best_model;
  void visit(Fields& fields);
  double rate_of(const std::string& group) const;
};

struct RunConfig {
  ModelConfig model;
  TaskConfig task;
  DataConfig data;
  MethodSection method;
  TrainConfig train;
  std::string output;
  void visit(Fields& fields);

  /// Parses, checks ranges and contradictions, makes paths absolute. `origin` names the file in messages. Throws ConfigError.
  static RunConfig from_json(const Json& json, const std::string& origin);
  static RunConfig read(const std::filesystem::path& file, const std::vector<std::string>& sets = {});
  /// Complete and itself a valid config, or only the fields that are wanted.
  Json to_json(const FieldFilter& wanted = {}) const;
};

/// Whether the task has no classes of its own: data.labels or the rows name them.
bool outputs_from_file(const TaskConfig& task);

/// Fields that may change a number of the result. The others: output, logging_steps, save_steps, and num_threads, which changes only
/// rounding: a run may go on on another machine.
inline bool changes_numbers(const FieldInfo& info) { return info.changes_numbers; }

/// First key in which two resolved configs differ, as a path. Empty: none.
std::string first_difference(const Json& a, const Json& b);

/// JSON Schema of a run config: one alternative of `method` per registered method.
Json run_config_schema();

}  // namespace peft
