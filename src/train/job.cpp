#include "src/train/job.h"

#include <algorithm>
#include <cmath>

#include "peft/base/log.h"
#include "peft/base/memory.h"
#include "src/train/doctor_measure.h"
#include "src/train/forecast.h"
#include "src/train/job_reports.h"

namespace peft {

Job::Job(RunConfig config, const Tokenizer& tokenizer, Datasets& datasets, std::unique_ptr<RunRecorder> recorder,
         OnEvaluation on_evaluation)
    : config_(std::move(config)),
      data_(load_job_data(config_, tokenizer, datasets)),
      progress_(config_.train, *data_.train),
      doctor_({.learning_rate = config_.train.learning_rate.value(),
               .warmup_steps = progress_.schedule().warmup_steps(),
               .batch = progress_.next().examples,
               .fresh = !config_.method->init_from}),
      recorder_(std::move(recorder)),
      on_evaluation_(std::move(on_evaluation)) {}

void Job::open(Bank& bank, int64_t k, Json provenance, int64_t step) {
  k_ = k;
  provenance["data"] = data_.dataset->fingerprint;
  provenance["splits"] = split_sizes(data_);
  description_ = description_of(config_, bank, provenance.at("model"));
  const RunRecorder::Start start = recorder_->open(config_, provenance, bank, k, {step, progress_.total_steps()});
  progress_.resume(start.state);
  try {
    doctor_.resume(start.state.doctor);
  } catch (const Json::exception& error) {
    throw_error<DataError>("{}: checkpoint: metadata \"state\": doctor: {}", config_.output, error.what());
  }
  seconds_ = start.seconds;
  active_ = true;
  if (data_.dev == nullptr)
    log_warning("{}: no dev split with labels: nothing is evaluated, best/ is the last state", config_.output);
  if (this->step() == 0) {
    doctor_.begin(facts_of(data_, config_.task), sample_values(*bank.method, k_));
    doctor_.look_at(0, measure_signs(bank, k_, data_));
    say_findings();
  }
  complete_if_due(bank);  // killed between its last step and its results
}

Optimizer::Due Job::due_step() const {
  return {static_cast<std::size_t>(k_), progress_.state().step, progress_.state().updates};
}

int64_t Job::work(const Bank& bank, const Step& step) const {
  int64_t sum = 0;
  for (const auto& micro : step.micro_batches)
    for (const int64_t example : micro) sum += work_of(bank, train_split(), example);
  return sum;
}

double Job::total_work(const Bank& bank) const {
  int64_t epoch = 0;
  for (int64_t e = 0; e < train_split().size(); ++e) epoch += work_of(bank, train_split(), e);
  return static_cast<double>(epoch) * static_cast<double>(progress_.total_steps()) /
         static_cast<double>(std::max<int64_t>(1, progress_.steps_in_epoch()));
}

bool RunEstimate::add(double seconds, int64_t step_work) {
  if (steps == kSteps) return false;
  ++steps;
  step_seconds += seconds;
  work += step_work;
  peak_memory_bytes = peft::peak_memory_bytes() + growth_bytes;
  return true;
}

bool Job::finish_step(Bank& bank, const Step& step, const Optimizer::Report& report, double loss, int64_t tokens,
                      double seconds) {
  seconds_ += seconds;
  if (estimate_.steps < RunEstimate::kSteps) estimate_.add(seconds, work(bank, step));
  if (!progress_.count(step, report.finite, loss, tokens))
    log_warning("{}: step {}: loss or gradient is not finite; the step is skipped", config_.output, this->step());
  doctor_.count(this->step(), loss, report.finite);
  const auto log_step = [&] {
    Json line = progress_.take_log_line();
    line["grad_norm"] = std::isfinite(report.gradient_norm) ? Json(report.gradient_norm) : Json();
    recorder_->log(line);
  };
  if (progress_.logs_in_turn()) log_step();
  if (stopped_by_guard(bank)) {
    if (progress_.at_last_step() && !progress_.logs_in_turn()) log_step();
    return true;
  }
  if (doctor_.judges_rate_at(this->step())) doctor_.judge_rate(this->step(), sample_values(*bank.method, k_));
  say_findings();
  if (progress_.checks_gradients_now()) check_gradients(bank);
  if (progress_.evaluates_in_turn() && data_.dev != nullptr) evaluate_now(bank);
  if (progress_.at_last_step()) {  // what a longer run does not do here comes last, so that it can be undone
    progress_.keep_for_longer_run(recorder_->log_bytes(), doctor_.to_json());
    if (!progress_.logs_in_turn()) log_step();
    if (!progress_.evaluates_in_turn() && data_.dev != nullptr) evaluate_now(bank);
    doctor_.conclude(this->step(), sample_values(*bank.method, k_));
    say_findings();
  }
  if (active_ && progress_.patience_ended() && stopped_by_guard(bank)) return true;  // it ends earlier than it looked
  return !active_ || progress_.patience_ended() || progress_.saves_now();
}

void Job::stop(const std::string& why) {
  active_ = false;
  result_ = {ExitCode::guard, fmt::format("{}: step {}: {}", config_.output, step(), why), {}};
}

void Job::interrupt() {
  active_ = false;
  result_ = {
      ExitCode::interrupted, fmt::format("{}: saved at step {}; run again with --resume", config_.output, step()), {}};
}

/// Values are looked at before they are evaluated or written.
bool Job::stopped_by_guard(const Bank& bank) {
  std::optional<std::string> why = progress_.guard();
  if (!why && (progress_.evaluates_now() || progress_.ended())) why = useless_values(*bank.method, k_);
  if (why) {
    doctor_.stopped(step(), *why);
    say_findings();
    stop(*why);
  }
  return why.has_value();
}

/// Each finding once, when it is new.
void Job::say_findings() {
  for (const Finding& finding : doctor_.take_new()) {
    if (says_findings_) log_warning("{}: step {}: {}: {}", config_.output, finding.step, finding.name, finding.message);
    recorder_->log({{"finding", finding.name}, {"at_step", finding.step}, {"message", finding.message}});
  }
}

void Job::save(const Bank& bank) {
  SavedState saved = progress_.saved();
  saved.state.doctor = doctor_.to_json();
  recorder_->save(saved, bank, k_, seconds_);
}

void Job::check_gradients(const Bank& bank) {
  for (std::size_t i = 0; i < bank.method->parameters().size(); ++i) {
    if (bank.optimizer->moved(i, k_)) continue;
    const std::string& name = bank.method->parameters()[i].name;
    log_warning("{}: the gradient of {} has been exactly zero for {} steps: it does not train", config_.output, name,
                step());
    recorder_->log({{"alarm", "zero_gradient"}, {"parameter", name}, {"at_step", step()}});
  }
}

void Job::evaluate_now(Bank& bank) {
  Evaluation evaluation = evaluate(bank.model, *bank.method, k_, *data_.dev, data().task, bank.features);
  Json line = evaluation_metrics(evaluation, *data_.dev, data().task);
  line.update({{"step", step()}, {"epoch", progress_.epochs_done()}});
  line.update(evaluation.facts);
  recorder_->log(line);
  recorder_->flush();
  if (evaluation.collapsed) recorder_->log({{"alarm", "collapsed_predictions"}, {"at_step", step()}});
  if (evaluation.nonfinite > 0) {
    log_warning("{}: step {}: {} examples of dev have logits that are not finite", config_.output, step(),
                evaluation.nonfinite);
    recorder_->log({{"alarm", "nonfinite_logits"}, {"examples", evaluation.nonfinite}, {"at_step", step()}});
  }
  doctor_.look_at(step(), measure_signs(bank, k_, data_));
  doctor_.evaluated(step(), evaluation.collapsed);
  say_findings();
  const std::string& metric = *config_.train.metric_for_best_model;
  const double score = score_of(line, metric);
  if (progress_.note_score(score)) {
    if (!progress_.evaluates_in_turn()) recorder_->keep_best();
    description_.scores = scores_of(line, *data_.dev, data().task, step());
    recorder_->save_adapter("best", store(bank), *bank.method, k_);
    best_ = std::move(evaluation);
  } else if (progress_.patience_ended()) {
    log_info("{}: step {}: stopped early, best eval_{} {:.4f} at step {}", config_.output, step(), metric,
             *progress_.state().best_score, progress_.state().best_step);
  }
  if (progress_.ended()) return;  // too late to drop it
  if (on_evaluation_ && on_evaluation_(step(), score) == Verdict::drop)
    stop(fmt::format("dropped with eval_{} {:.4g}", metric, score));
}

void Job::complete_if_due(Bank& bank) {
  if (active_ && progress_.ended()) complete(bank);
}

/// last/, best/, predictions and metrics.json, the last of which marks the run as finished.
void Job::complete(Bank& bank) {
  description_.scores = {};  // those of best/ come below
  recorder_->save_adapter("last", store(bank), *bank.method, k_);
  if (data_.dev == nullptr) recorder_->save_adapter("best", store(bank), *bank.method, k_);
  Json metrics = training_metrics(config_, data_, progress_, *bank.method, k_, seconds_);
  if (estimate_.steps > 0) {
    metrics["estimated_peak_memory_bytes"] = estimate_.peak_memory_bytes;
    metrics["estimated_train_runtime"] = estimate_.train_seconds(total_work(bank));
  }
  if (data_.dev != nullptr) {
    const bool scores = !best_ || data_.test != nullptr;
    if (scores && progress_.state().best_step != step())  // the bank's slice is free now: score what best/ holds
      recorder_->restore_adapter("best", store(bank), *bank.method, k_);
    const Evaluation evaluation =
        best_ ? *best_ : evaluate(bank.model, *bank.method, k_, *data_.dev, data().task, bank.features);
    metrics.update(best_metrics(config_, data_, progress_, evaluation));
    keep_scores(evaluation, *data_.dev);
  }
  if (data_.test != nullptr) {  // once, with what dev has chosen
    const Evaluation evaluation = evaluate(bank.model, *bank.method, k_, *data_.test, data().task);
    metrics.update(test_metrics(evaluation, data_));
    keep_scores(evaluation, *data_.test);
  }
  if (!description_.scores.is_null()) recorder_->describe_adapter("best", store(bank));
  metrics["findings"] = doctor_.findings_json();
  recorder_->save_metrics(metrics);
  active_ = false;
  result_ = {ExitCode::done, "", metrics};
}

/// Its predictions file, and the scores that best/ tells: those of the latest split, which is the reported one.
void Job::keep_scores(const Evaluation& evaluation, const EncodedSplit& split) {
  recorder_->save_predictions(evaluation, split, data().task);
  const int64_t chosen = data_.dev == nullptr ? step() : progress_.state().best_step;
  description_.scores = scores_of(evaluation_metrics(evaluation, split, data().task), split, data().task, chosen);
  description_.scores["ci95"] = score_intervals(evaluation, split, data().task);
  if (config_.data.split.policy != "official") description_.scores["split_policy"] = config_.data.split.policy;
}

}  // namespace peft
