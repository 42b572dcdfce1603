#include "src/train/job_progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "peft/metrics/metrics.h"

namespace peft {
namespace {

constexpr int64_t kNonfiniteLimit = 10;  // non-finite gradients in a row that stop a job (docs/methods.md#the-bank)
constexpr int64_t kReferenceSteps = 10;  // first steps, whose mean loss the divergence guard compares with
constexpr double kDivergenceFactor = 10.0;
constexpr double kSmoothing = 0.9;
constexpr int64_t kGradientCheckStep = 20;  // by then every trained tensor should have had a gradient

Sampler make_sampler(const EncodedSplit& train, const TrainConfig& config) {
  std::vector<int64_t> lengths;
  for (int64_t r = 0; r < train.size(); ++r) lengths.push_back(train.tokens(r));
  return {std::move(lengths),
          {.seed = static_cast<uint64_t>(config.data_seed.value_or(config.seed)),
           .batch_size = config.batch_size.value_or(0),
           .batch_tokens = config.batch_tokens.value_or(0),
           .accumulation = config.gradient_accumulation_steps}};
}

int64_t count_steps(const Sampler& sampler, const TrainConfig& config) {
  return config.max_steps > 0 ? config.max_steps : sampler.steps_in_epochs(config.num_train_epochs);
}

}  // namespace

JobProgress::JobProgress(const TrainConfig& config, const EncodedSplit& train)
    : config_(config), sampler_(make_sampler(train, config)), schedule_(config, count_steps(sampler_, config)) {}

double JobProgress::epochs_done() const {
  const int64_t epoch = state_.step == 0 ? 0 : sampler_.at(state_.step - 1).epoch;
  int64_t steps = state_.step;
  for (int64_t e = 0; e < epoch; ++e) steps -= sampler_.steps_in_epoch(e);
  return static_cast<double>(epoch) + static_cast<double>(steps) / static_cast<double>(sampler_.steps_in_epoch(epoch));
}

bool JobProgress::count(const Step& step, bool finite, double loss, int64_t tokens) {
  epoch_ = step.epoch;
  state_.samples += step.examples;
  state_.tokens += tokens;
  ++state_.step;
  if (!finite || !std::isfinite(loss)) {
    ++state_.nonfinite_steps;
    ++state_.nonfinite_in_a_row;
    return false;
  }
  ++state_.updates;
  state_.nonfinite_in_a_row = 0;
  state_.window_loss += loss;
  state_.loss_sum += loss;
  ++state_.window_steps;
  if (state_.updates <= kReferenceSteps) state_.first_losses += loss;
  state_.smoothed_loss = state_.updates == 1 ? loss : kSmoothing * state_.smoothed_loss + (1.0 - kSmoothing) * loss;
  return true;
}

std::optional<std::string> JobProgress::guard() const {
  if (state_.nonfinite_in_a_row >= kNonfiniteLimit)
    return fmt::format("{} steps in a row had a loss or gradient that is not finite", state_.nonfinite_in_a_row);
  if (state_.updates > kReferenceSteps &&
      state_.smoothed_loss > kDivergenceFactor * (state_.first_losses / kReferenceSteps + 1.0)) {
    return fmt::format("the loss diverged: {:.4g} (smoothed) after {:.4g} in the first {} steps", state_.smoothed_loss,
                       state_.first_losses / kReferenceSteps, kReferenceSteps);
  }
  if (ended() && 2 * state_.nonfinite_steps > state_.step)
    return fmt::format("{} of {} steps had a loss or gradient that is not finite", state_.nonfinite_steps, state_.step);
  return std::nullopt;
}

void JobProgress::keep_for_longer_run(int64_t log_bytes, Json doctor) {
  of_longer_run_ = state_;
  of_longer_run_->log_bytes = log_bytes;
  of_longer_run_->doctor = std::move(doctor);
}

bool JobProgress::in_turn(const std::optional<int64_t>& every) const {
  if (!every) return sampler_.at(state_.step).epoch != epoch_;
  return *every > 0 && state_.step % *every == 0;
}

int64_t JobProgress::evaluations() const {
  const int64_t total = total_steps(), every = config_.eval_steps.value_or(std::max<int64_t>(1, steps_in_epoch()));
  return every == 0 ? 1 : (total + every - 1) / every;
}

bool JobProgress::checks_gradients_now() const { return state_.step == kGradientCheckStep; }

bool JobProgress::patience_ended() const {
  const auto& patience = config_.early_stopping_patience;
  return patience && state_.evaluations_without_better >= *patience;
}

Json JobProgress::take_log_line() {
  Json line = {{"step", state_.step},
               {"epoch", epochs_done()},
               {"loss", Json()},
               {"learning_rate", *config_.learning_rate * schedule_.factor(state_.step - 1)}};
  if (state_.window_steps > 0) line["loss"] = state_.window_loss / static_cast<double>(state_.window_steps);
  state_.window_loss = 0.0;
  state_.window_steps = 0;
  return line;
}

bool JobProgress::note_score(double score) {
  const bool lower = lower_is_better(*config_.metric_for_best_model);
  if (state_.best_score && !(lower ? score < *state_.best_score : score > *state_.best_score)) {
    ++state_.evaluations_without_better;
    return false;
  }
  state_.best_score = score;
  state_.best_step = state_.step;
  state_.evaluations_without_better = 0;
  return true;
}

std::string JobProgress::note() const {
  std::string note = state_.updates > 0 ? fmt::format("loss {:.4f}", state_.smoothed_loss) : "no loss yet";
  if (state_.best_score) note += fmt::format("  best {} {:.4f}", *config_.metric_for_best_model, *state_.best_score);
  return note;
}

}  // namespace peft
