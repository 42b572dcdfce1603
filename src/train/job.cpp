#include "src/train/job.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>

#include "peft/base/log.h"
#include "peft/interop/adapter_folder.h"

namespace peft {
namespace {

constexpr int64_t kNonfiniteLimit = 10;  // non-finite gradients in a row that stop a job (docs/methods.md#the-bank)
constexpr int64_t kReferenceSteps = 10;  // first steps, whose mean loss the divergence guard compares with
constexpr double kDivergenceFactor = 10.0;
constexpr double kSmoothing = 0.9;
constexpr int64_t kGradientCheckStep = 20;  // by then every trained tensor should have had a gradient

const EncodedSplit* required(const Dataset& data, const char* name, const RunConfig& config) {
  const EncodedSplit* split = data.find(name);
  if (split == nullptr) throw_error<DataError>("{}: no {} split", config.task.data, name);
  return split;
}

Sampler make_sampler(const EncodedSplit& train, const TrainConfig& config) {
  std::vector<int64_t> lengths;
  for (int64_t r = 0; r < train.size(); ++r) lengths.push_back(train.length(r));
  return {std::move(lengths),
          {.seed = static_cast<uint64_t>(config.data_seed.value_or(config.seed)),
           .batch_size = config.batch_size.value_or(0),
           .batch_tokens = config.batch_tokens.value_or(0),
           .accumulation = config.gradient_accumulation_steps}};
}

int64_t total_steps(const Sampler& sampler, const TrainConfig& config) {
  return config.max_steps > 0 ? config.max_steps : sampler.steps_in_epochs(config.num_train_epochs);
}

std::shared_ptr<const Dataset> shared_dataset(RunConfig& config, const Tokenizer& tokenizer,
                                              std::map<std::string, std::shared_ptr<const Dataset>>& datasets) {
  const Json json = config.to_json();
  auto& data = datasets[json["task"].dump() + json["data"].dump()];
  if (!data)
    data = std::make_shared<const Dataset>(load_dataset(config.task, config.data, tokenizer, {"train", "dev"}));
  config.task.name = data->task.name;  // both as load_dataset resolved them
  if (config.data.labels.empty()) config.data.labels = data->task.labels;
  return data;
}

bool better(double score, double best, const std::string& metric) {
  return lower_is_better(metric) ? score < best : score > best;
}

int64_t peak_memory_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024;
}

}  // namespace

Job::Job(RunConfig config, const TrainOptions& options, const Tokenizer& tokenizer,
         std::map<std::string, std::shared_ptr<const Dataset>>& datasets)
    : config_(std::move(config)),
      data_(shared_dataset(config_, tokenizer, datasets)),
      train_(required(*data_, "train", config_)),
      dev_(data_->find("dev")),
      sampler_(make_sampler(*train_, config_.train)),
      schedule_(config_.train, peft::total_steps(sampler_, config_.train)),
      folder_(config_.output, options.resume) {
  if (train_->hidden) throw_error<DataError>("{}: the train split has no labels", config_.task.data);
  if (dev_ != nullptr && dev_->hidden) dev_ = nullptr;
  const std::string metric = config_.train.metric_for_best_model.value_or(data_->task.metrics.front());
  const auto& known = data_->task.metrics;
  if (metric != "loss" && std::find(known.begin(), known.end(), metric) == known.end()) {
    throw_error<ConfigError>("train.metric_for_best_model: found \"{}\", expected loss, {}", metric,
                             fmt::join(known, ", "));
  }
  config_.train.metric_for_best_model = metric;
}

int64_t Job::saved_step() const {
  const auto file =
      std::filesystem::exists(folder_.checkpoint()) ? folder_.checkpoint() : folder_.previous_checkpoint();
  return std::filesystem::exists(file) ? checkpoint_step(file) : 0;
}

/// The checkpoint of that step; empty: the start.
std::filesystem::path Job::checkpoint_of(int64_t step) const {
  const auto newest = folder_.checkpoint();
  auto previous = folder_.previous_checkpoint();
  if (!std::filesystem::exists(newest)) return previous;
  if (step == checkpoint_step(newest) || !std::filesystem::exists(previous)) return step == 0 ? "" : newest;
  return step == checkpoint_step(previous) ? previous : step == 0 ? "" : newest;
}

void Job::open(Bank& bank, int64_t k, const Json& provenance, int64_t step) {
  k_ = k;
  folder_.open();
  Json own = provenance;
  own["data"] = data_->fingerprint;
  folder_.write_config(config_, own);
  const std::filesystem::path checkpoint =
      folder_.found() == RunFolder::Found::checkpoint ? checkpoint_of(step) : std::filesystem::path();
  if (!checkpoint.empty()) {
    state_ = load_checkpoint(checkpoint, *bank.method, *bank.optimizer, k);
    if (std::filesystem::exists(folder_.runtime()))
      seconds_ = read_json_file<DataError>(folder_.runtime()).value("train_seconds", 0.0);
    log_info("{}: going on from step {}", config_.output, state_.step);
  }
  folder_.start_log(state_.log_bytes, state_.step);
  active_ = true;
  if (dev_ == nullptr)
    log_warning("{}: no dev split with labels: nothing is evaluated, best/ is the last state", config_.output);
  complete_if_due(bank);  // killed between its last step and its results
}

void Job::complete_if_due(Bank& bank) {
  if (active_ && (state_.step >= total_steps() || patience_ended())) complete(bank);
}

bool Job::due(const std::optional<int64_t>& every, bool epoch_ends) const {
  if (state_.step == total_steps()) return true;
  if (!every) return epoch_ends;
  return *every > 0 && state_.step % *every == 0;
}

bool Job::finish_step(Bank& bank, const Step& step, double seconds) {
  seconds_ += seconds;
  const bool epoch_ends = state_.step == total_steps() || sampler_.at(state_.step).epoch != step.epoch;
  if (state_.step % config_.train.logging_steps == 0 || state_.step == total_steps()) log_training();
  if (diverged()) {
    stop(ExitCode::guard,
         fmt::format("{}: step {}: the loss diverged: {:.4g} (smoothed) after {:.4g} in the first {} steps",
                     config_.output, state_.step, state_.smoothed_loss, state_.first_losses / kReferenceSteps,
                     kReferenceSteps));
    return true;
  }
  const bool evaluates = due(config_.train.eval_steps, epoch_ends);
  if (state_.step == kGradientCheckStep) check_gradients(bank);
  if (evaluates && dev_ != nullptr) evaluate_now(bank);
  return patience_ended() || due(config_.train.save_steps, epoch_ends);
}

void Job::update(const Optimizer::Report& report, const Step& step, double loss, int64_t tokens) {
  state_.samples += step.examples;
  state_.tokens += tokens;
  gradient_norm_ = report.gradient_norm;
  ++state_.step;
  if (report.finite && std::isfinite(loss)) {
    ++state_.updates;
    state_.nonfinite_in_a_row = 0;
    state_.window_loss += loss;
    state_.loss_sum += loss;
    ++state_.window_steps;
    if (state_.updates <= kReferenceSteps) state_.first_losses += loss;
    state_.smoothed_loss = state_.updates == 1 ? loss : kSmoothing * state_.smoothed_loss + (1.0 - kSmoothing) * loss;
    return;
  }
  ++state_.nonfinite_steps;
  log_warning("{}: step {}: loss or gradient is not finite; the step is skipped", config_.output, state_.step);
  if (++state_.nonfinite_in_a_row >= kNonfiniteLimit) {
    stop(ExitCode::guard, fmt::format("{}: step {}: {} steps in a row had a loss or gradient that is not finite",
                                      config_.output, state_.step, kNonfiniteLimit));
  }
}

bool Job::patience_ended() const {
  const auto& patience = config_.train.early_stopping_patience;
  return patience && state_.evaluations_without_better >= *patience;
}

bool Job::diverged() const {
  return state_.updates > kReferenceSteps &&
         state_.smoothed_loss > kDivergenceFactor * (state_.first_losses / kReferenceSteps + 1.0);
}

/// Passes over the training rows so far. With a token budget the epochs differ in their number of steps.
double Job::epochs_done() const {
  const int64_t epoch = state_.step == 0 ? 0 : sampler_.at(state_.step - 1).epoch;
  int64_t steps = state_.step;
  for (int64_t e = 0; e < epoch; ++e) steps -= sampler_.steps_in_epoch(e);
  return static_cast<double>(epoch) + static_cast<double>(steps) / static_cast<double>(sampler_.steps_in_epoch(epoch));
}

void Job::log_training() {
  const double mean = state_.window_steps > 0 ? state_.window_loss / static_cast<double>(state_.window_steps) : 0.0;
  const double rate = config_.train.learning_rate *
                      schedule_.factor(state_.step - 1);  // of the step just done, as transformers logs it
  Json line = {{"step", state_.step}, {"epoch", epochs_done()}, {"loss", mean}, {"learning_rate", rate}};
  line["grad_norm"] = std::isfinite(gradient_norm_) ? Json(gradient_norm_) : Json();
  state_.window_loss = 0.0;
  state_.window_steps = 0;
  folder_.log(line);
}

void Job::check_gradients(const Bank& bank) {
  for (std::size_t i = 0; i < bank.method->parameters().size(); ++i) {
    if (bank.optimizer->moved(i, k_)) continue;
    const std::string& name = bank.method->parameters()[i].name;
    log_warning("{}: the gradient of {} has been exactly zero for {} steps: it does not train", config_.output, name,
                state_.step);
    folder_.log({{"alarm", "zero_gradient"}, {"parameter", name}, {"at_step", state_.step}});
  }
}

void Job::evaluate_now(Bank& bank) {
  Evaluation evaluation = evaluate(bank.model, *bank.method, k_, *dev_, data_->task, bank.features);
  Json line = evaluation_metrics(evaluation, *dev_, data_->task);
  line["step"] = state_.step;
  line["epoch"] = epochs_done();
  line.update(evaluation.facts);
  folder_.log(line);
  folder_.flush();
  if (evaluation.collapsed) {
    log_warning("{}: step {}: every example of dev is predicted alike", config_.output, state_.step);
    folder_.log({{"alarm", "collapsed_predictions"}, {"at_step", state_.step}});
  }
  if (evaluation.nonfinite > 0) {
    log_warning("{}: step {}: {} rows of dev have logits that are not finite", config_.output, state_.step,
                evaluation.nonfinite);
    folder_.log({{"alarm", "nonfinite_logits"}, {"rows", evaluation.nonfinite}, {"at_step", state_.step}});
  }
  const std::string& metric = *config_.train.metric_for_best_model;
  const Json& score = line["eval_" + metric];
  const double last_score =
      score.is_number() ? score.get<double>() : (lower_is_better(metric) ? std::numeric_limits<double>::max() : 0.0);
  if (!state_.best_score || better(last_score, *state_.best_score, metric)) {
    state_.best_score = last_score;
    state_.best_step = state_.step;
    state_.evaluations_without_better = 0;
    write_adapter_folder(bank, "best");
    best_ = std::move(evaluation);
  } else {
    ++state_.evaluations_without_better;
    if (patience_ended()) {
      log_info("{}: step {}: stopped early, best eval_{} {:.4f} at step {}", config_.output, state_.step, metric,
               *state_.best_score, state_.best_step);
    }
  }
}

void Job::write_adapter_folder(const Bank& bank, const char* name) const {
  AdapterFiles files = bank.method->fold(k_);
  if (bank.method->folds()) {
    files.trained = bank.method->trained_tensors(k_);
    files.trained_type = config_.method->type;
  }
  const std::filesystem::path folder = folder_.path() / name;
  if (bank.method->writes_model_folder()) {
    write_model_folder(folder, files, bank.model, data_->task.labels);
  } else {
    write_adapter(folder, files);
  }
}

void Job::save(Bank& bank) {
  state_.log_bytes = folder_.log_bytes();
  folder_.flush();
  const std::filesystem::path next = folder_.checkpoint().parent_path() / "next.safetensors";
  save_checkpoint(next, state_, *bank.method, *bank.optimizer, k_);
  if (bank.method->adapters() > 1 && std::filesystem::exists(folder_.checkpoint()))
    std::filesystem::rename(folder_.checkpoint(), folder_.previous_checkpoint());
  std::filesystem::rename(next, folder_.checkpoint());
  write_atomic(folder_.runtime(), to_pretty_string({{"train_seconds", seconds_}}));
}

void Job::stop(ExitCode code, std::string message) {
  active_ = false;
  result_.code = code;
  result_.message = std::move(message);
}

void Job::record_stop() const {
  write_atomic(folder_.stopped(), to_pretty_string({{"step", state_.step}, {"message", result_.message}}));
}

/// last/, best/, predictions and metrics.json, the last of which marks the run as finished.
void Job::complete(Bank& bank) {
  write_adapter_folder(bank, "last");
  if (dev_ == nullptr) write_adapter_folder(bank, "best");
  int64_t stored = 0;
  const AdapterFiles files = bank.method->fold(k_);
  for (const auto& [name, tensor] : files.tensors) stored += tensor.numel();

  Json metrics = {{"task", data_->task.name},
                  {"method", config_.method->type},
                  {"split_policy", "official"},
                  {"train_samples", train_->size()},
                  {"epoch", epochs_done()},
                  {"global_step", state_.step},
                  {"train_loss", state_.updates > 0 ? state_.loss_sum / static_cast<double>(state_.updates) : 0.0},
                  {"train_runtime", seconds_},
                  {"peak_memory_bytes", peak_memory_bytes()},
                  {"trainable_parameters", bank.method->trainable_parameters()},
                  {"stored_parameters", stored},
                  {"nonfinite_steps", state_.nonfinite_steps},
                  {"skipped", train_->statistics.skipped}};
  if (seconds_ > 0) {
    metrics["train_samples_per_second"] = static_cast<double>(state_.samples) / seconds_;
    metrics["train_steps_per_second"] = static_cast<double>(state_.step) / seconds_;
    metrics["train_tokens_per_second"] = static_cast<double>(state_.tokens) / seconds_;
  }
  if (dev_ != nullptr) {
    if (!best_ && state_.best_step != state_.step) {  // the bank's slice is free now: score what best/ holds
      const std::filesystem::path folder = folder_.path() / "best";
      const AdapterFiles best = bank.method->writes_model_folder() ? read_model_folder(folder) : read_adapter(folder);
      if (bank.method->folds()) {
        bank.method->load_trained(k_, best.trained, best.origin + "/trained.safetensors", true);
      } else {
        bank.method->load(k_, best, true);
      }
    }
    const Evaluation evaluation =
        best_ ? *best_ : evaluate(bank.model, *bank.method, k_, *dev_, data_->task, bank.features);
    metrics.update(evaluation_metrics(evaluation, *dev_, data_->task));
    metrics["best_step"] = state_.best_step;
    metrics["best_metric"] = *config_.train.metric_for_best_model;
    metrics["eval_samples_per_second"] = static_cast<double>(dev_->size()) / evaluation.seconds;
    metrics["note"] = "selected on the reported split";
    write_predictions(folder_.path() / "predictions" / "dev.jsonl", evaluation, *dev_, data_->task);
  }
  folder_.flush();
  std::filesystem::remove(folder_.previous_checkpoint());
  write_atomic(folder_.path() / "metrics.json", to_pretty_string(metrics));
  active_ = false;
  result_ = {ExitCode::done, "", metrics};
}

std::string Job::progress_note() const {
  std::string note = fmt::format("loss {:.4f}", state_.smoothed_loss);
  if (state_.best_score)
    note += fmt::format("  best {} {:.4f}", *config_.train.metric_for_best_model, *state_.best_score);
  return note;
}

}  // namespace peft
