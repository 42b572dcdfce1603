#include "src/train/doctor.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace peft {
namespace {

// Thresholds and where they come from: docs/doctor.md#thresholds.
constexpr int64_t kWindow = 50;          // losses since the warm-up by which the rate is judged
constexpr int64_t kShortestWindow = 20;  // of a run that is too short for more
constexpr int64_t kStartLosses = 10;
constexpr double kNoise = 3.0;          // standard errors that a fall of the loss must exceed
constexpr double kBarelyMoved = 0.002;  // relative change of trained values over the window
constexpr double kStill = 1e-5;         // of the head, while others moved: below what one step of a usual rate does
constexpr double kRise = 1.5;           // of the loss at the start: a peak, from which it has not come back
constexpr double kThrown = 0.1;         // relative change of trained values, without which no loss rises by itself
constexpr int kPeak = 5;                // losses in the mean that is a peak
constexpr double kWildExample = 4.0;    // of the loss at the start: noise of one example; of a batch, by its root
constexpr double kSmallLoss = 0.3;      // losses as small as this may rise and jump: a batch of few mistakes
constexpr int64_t kReliableBatch = 8;   // examples; the first loss of fewer is luck, and the first ten stand for it
constexpr int64_t kSkippedSteps = 3;    // not finite, in the window
constexpr int64_t kFirstVerdict = 100,
                  kEarlyVerdict = 500;   // steps at which a loss should have fallen: at the end, before it
constexpr int64_t kCollapsedInARow = 2;  // evaluations
constexpr double kFarNorm = 10.0;        // times, or a part of, the norm of a word
constexpr double kGrownNorm = 100.0;     // times, where it trained so far
constexpr double kNoAttention = 0.005;   // share of the attention, in the layer where it is largest
constexpr double kManyTruncated = 0.1;   // of the examples
constexpr double kNearlyAll = 0.95;      // of the examples have one label

std::string number(double x) { return fmt::format("{:.4g}", x); }
std::string percent(double share) { return fmt::format("{:.3g} %", 100.0 * share); }

/// Standard deviation of single losses about their trend, from the squares of their differences [von Neumann 1941].
double noise_of(double squares, int64_t differences) {
  return differences > 0 ? std::sqrt(squares / (2.0 * static_cast<double>(differences))) : 0.0;
}

double norm(const std::vector<double>& values) {
  return std::sqrt(std::inner_product(values.begin(), values.end(), values.begin(), 0.0));
}

}  // namespace

std::map<std::string, double> relative_changes(const Doctor::Sample& before, const Doctor::Sample& after) {
  std::map<std::string, double> changes;
  for (const auto& [group, old] : before) {
    const auto now = after.find(group);
    if (now == after.end() || now->second.size() != old.size()) continue;
    std::vector<double> difference;
    for (std::size_t i = 0; i < old.size(); ++i) difference.push_back(now->second[i] - old[i]);
    const double size = std::max(norm(old), norm(now->second));
    changes[group] = size > 0 ? norm(difference) / size : 0.0;
  }
  return changes;
}

bool Doctor::found(const std::string& name) const {
  return std::any_of(findings_.begin(), findings_.end(), [&](const Finding& f) { return f.name == name; });
}

void Doctor::add(const std::string& name, int64_t step, std::string message) {
  if (!found(name)) findings_.push_back({name, step, std::move(message)});
}

std::string Doctor::higher_rate(const std::string& what) const {
  const std::string advice = setting_.learning_rate > 0
                                 ? fmt::format("try a higher one, {} or more", number(100 * setting_.learning_rate))
                                 : std::string("nothing trains");
  return fmt::format("train.learning_rate: {} is too low: {}; {}, or let peft-sweep --find-rate look for it",
                     number(setting_.learning_rate), what, advice);
}

std::string Doctor::lower_rate(const std::string& what) const {
  return fmt::format(
      "train.learning_rate: {} is too high: {}; try {}, or a longer warm-up (train.warmup_ratio), or let peft-sweep "
      "--find-rate look for it",
      number(setting_.learning_rate), what, number(setting_.learning_rate / 10));
}

void Doctor::begin(const DataFacts& data, Sample values) {
  watching_ = true;
  start_ = std::move(values);
  const auto all = static_cast<double>(std::max<int64_t>(data.examples, 1));
  for (const int64_t count : data.label_counts) {
    const double share = static_cast<double>(count) / all;
    if (share > 0) uninformed_ -= share * std::log(share);
  }
  if (static_cast<double>(data.truncated) > kManyTruncated * all) {
    add("truncated", 0,
        fmt::format("task.max_length: {} cuts {} of the training examples, which lose {:.0f} tokens on average; raise "
                    "it as far as the model has positions",
                    data.max_length, percent(static_cast<double>(data.truncated) / all),
                    static_cast<double>(data.lost_tokens) / static_cast<double>(data.truncated)));
  }
  const auto most = std::max_element(data.label_counts.begin(), data.label_counts.end());
  if (most != data.label_counts.end() && static_cast<double>(*most) > kNearlyAll * all) {
    const auto id = static_cast<std::size_t>(most - data.label_counts.begin());
    add("one_sided_labels", 0,
        fmt::format("data.files: {} of the training examples have the label {}; add examples of the others, look at "
                    "data.columns.label, and choose by another metric than accuracy (train.metric_for_best_model)",
                    percent(static_cast<double>(*most) / all),
                    id < data.labels.size() ? "\"" + data.labels[id] + "\"" : std::to_string(id)));
  }
}

bool Doctor::judges_rate_at(int64_t step) const {
  return watching_ && !judged_ && step == setting_.warmup_steps + kWindow;
}

void Doctor::count(int64_t step, double loss, bool finite) {
  if (!watching_) return;
  if (!finite || !std::isfinite(loss)) {
    if (!judged_) ++skipped_;
    return;
  }
  if (start_losses_.count == 0) first_loss_ = loss;
  if (start_losses_.count < kStartLosses) start_losses_ = {start_losses_.sum + loss, start_losses_.count + 1};
  if (beginning_.count < kWindow) {
    if (beginning_.count > 0) squares_ += (loss - last_) * (loss - last_);
    last_ = loss;
    beginning_ = {beginning_.sum + loss, beginning_.count + 1};
  } else {
    interval_ = {interval_.sum + loss, interval_.count + 1};
  }
  if (!judged_ && step > setting_.warmup_steps) window_.push_back(loss);
}

void Doctor::judge_rate(int64_t step, const Sample& values) {
  judged_ = true;
  const std::map<std::string, double> changes = relative_changes(start_, values);
  start_.clear();
  const std::vector<double> losses = std::exchange(window_, {});
  if (skipped_ >= kSkippedSteps) {
    add("rate_too_high", step,
        lower_rate(fmt::format("{} of the first {} steps had a loss or gradient that is not finite", skipped_, step)));
    return;
  }
  const auto count = static_cast<int64_t>(losses.size());
  if (count < kShortestWindow) return;
  double squares = 0.0;
  for (std::size_t i = 1; i < losses.size(); ++i) squares += (losses[i] - losses[i - 1]) * (losses[i] - losses[i - 1]);
  const double noise = noise_of(squares, count - 1);
  const int64_t half = count / 2;
  const double end = std::accumulate(losses.end() - half, losses.end(), 0.0) / static_cast<double>(half);
  const double seen_first = setting_.batch >= kReliableBatch ? first_loss_ : start_losses_.mean();
  const double first = std::max(std::abs(seen_first), uninformed_);
  double peak = 0.0;  // of means over kPeak losses
  for (std::size_t i = kPeak; i <= losses.size(); ++i)
    peak = std::max(peak, std::accumulate(losses.begin() + i - kPeak, losses.begin() + i, 0.0) / kPeak);
  double most = 0.0;
  for (const auto& [group, change] : changes) most = std::max(most, change);
  const double wild = kWildExample / std::sqrt(static_cast<double>(std::max<int64_t>(setting_.batch, 1)));
  const std::string seen =
      fmt::format("in {} steps the loss went from {} to {}", step, number(seen_first), number(end));
  const double chance = kNoise * noise * std::sqrt(1.0 + 1.0 / kPeak);  // of a peak over a first loss
  if (most >= kThrown && end > first && peak > first + std::max({(kRise - 1.0) * first, kSmallLoss, chance})) {
    add("rate_too_high", step, lower_rate(fmt::format("{}, by way of {}", seen, number(peak))));
  } else if (most >= kThrown && noise > std::max(wild * first, kSmallLoss)) {
    add("rate_too_high", step,
        lower_rate(fmt::format("{}, and jumps by {} from one step to the next", seen, number(noise))));
  }
  const double start = start_losses_.mean();
  const double error =
      noise * std::sqrt(1.0 / static_cast<double>(start_losses_.count) + 1.0 / static_cast<double>(half));
  if (!changes.empty() && most < kBarelyMoved && std::abs(start - end) < kNoise * error) {
    add("rate_too_low", step,
        higher_rate(fmt::format(
            "in {} steps the loss went from {} to {}, within its noise of {}, and the trained values changed by {}",
            step, number(start), number(end), number(kNoise * error), percent(most))));
    return;
  }
  const auto head = changes.find("head");
  if (head != changes.end() && head->second < kStill && most > kBarelyMoved) {
    add("head_still", step,
        fmt::format("train.learning_rates: the head has not moved in {} steps (by {}) while the rest did ({}); give "
                    "\"head\" a rate "
                    "there, and look whether a frozen layer stands between it and the loss (method.modules_to_save)",
                    step, percent(head->second), percent(most)));
  }
}

void Doctor::look_at(int64_t step, const Signs& signs) {
  if (!watching_) return;
  const auto norms = signs.find("prompt_norm");
  if (norms != signs.end() && (norms->second.value > kFarNorm || norms->second.value < 1.0 / kFarNorm)) {
    const std::string times = number(norms->second.value) + " times as long as the median word embedding";
    if (step == 0) {
      add("prompt_norm", step, fmt::format("the virtual tokens start {}; {}", times, norms->second.cure));
    } else if (norms->second.value > kGrownNorm) {
      add("prompt_norm", step, lower_rate("the virtual tokens have become " + times));
    }
  }
  const auto share = signs.find("prefix_attention");
  if (step > 0 && share != signs.end() && share->second.value < kNoAttention) {
    add("prefix_unattended", step,
        fmt::format("the prefix gets {} of the attention in the layer where it gets most; {}",
                    percent(share->second.value), share->second.cure));
  }
}

void Doctor::evaluated(int64_t step, bool collapsed) {
  if (!watching_) return;
  collapsed_ = collapsed ? collapsed_ + 1 : 0;
  if (step >= kEarlyVerdict) judge_fall(step);
  if (interval_.count >= kWindow) recent_ = std::exchange(interval_, {});
  if (collapsed_ >= kCollapsedInARow) blame_one_prediction(step);
}

void Doctor::conclude(int64_t step, const Sample& values) {
  if (!watching_) return;
  if (!judged_ && step >= setting_.warmup_steps + kShortestWindow) judge_rate(step, values);
  if (step >= kFirstVerdict) judge_fall(step);
  if (collapsed_ > 0) blame_one_prediction(step);
}

void Doctor::judge_fall(int64_t step) {
  if (!setting_.fresh || blames_rate()) return;
  const bool enough = interval_.count >= kWindow;
  const Losses since = enough ? interval_ : Losses{recent_.sum + interval_.sum, recent_.count + interval_.count};
  if (since.count < kWindow) return;
  const double noise = noise_of(squares_, beginning_.count - 1);
  const double error =
      noise * std::sqrt(1.0 / static_cast<double>(beginning_.count) + 1.0 / static_cast<double>(since.count));
  if (beginning_.mean() - since.mean() >= kNoise * error) return;
  add("loss_does_not_fall", step,
      fmt::format("train.learning_rate: after {} steps the loss is {}, after {} in the first {}: {} may be too low "
                  "or too high, peft-sweep --find-rate tells; look at labels and data.columns too",
                  step, number(since.mean()), number(beginning_.mean()), kWindow, number(setting_.learning_rate)));
}

void Doctor::blame_one_prediction(int64_t step) {
  if (step < kWindow || blames_rate()) return;
  add("one_prediction", step,
      fmt::format("train.learning_rate: every example of dev is predicted alike; {} may be too low or too high, "
                  "peft-sweep --find-rate tells; more steps may help (train.num_train_epochs)",
                  number(setting_.learning_rate)));
}

void Doctor::stopped(int64_t step, const std::string& why) {
  if (watching_) add("rate_too_high", step, lower_rate(why));
}

std::vector<Finding> Doctor::take_new() {
  std::vector<Finding> fresh(findings_.begin() + static_cast<std::ptrdiff_t>(said_), findings_.end());
  said_ = findings_.size();
  return fresh;
}

Json Doctor::findings_json() const {
  Json list = Json::array();
  for (const Finding& finding : findings_) list.push_back(finding.to_json());
  return list;
}

Json Doctor::to_json() const {
  if (!watching_) return {};
  const auto losses = [](const Losses& l) { return Json{{"sum", l.sum}, {"count", l.count}}; };
  return {{"findings", findings_json()},
          {"judged", judged_},
          {"start_values", start_},
          {"first_loss", first_loss_},
          {"skipped", skipped_},
          {"uninformed", uninformed_},
          {"start_losses", losses(start_losses_)},
          {"window", window_},
          {"beginning", losses(beginning_)},
          {"squares", squares_},
          {"last_loss", last_},
          {"interval", losses(interval_)},
          {"recent", losses(recent_)},
          {"collapsed", collapsed_}};
}

void Doctor::resume(const Json& state) {
  if (state.is_null()) return;
  const auto losses = [](const Json& l) { return Losses{l.at("sum").get<double>(), l.at("count").get<int64_t>()}; };
  watching_ = true;
  for (const Json& f : state.at("findings"))
    findings_.push_back({f.at("name"), f.at("step").get<int64_t>(), f.at("message")});
  said_ = findings_.size();
  state.at("judged").get_to(judged_);
  state.at("start_values").get_to(start_);
  state.at("first_loss").get_to(first_loss_);
  state.at("skipped").get_to(skipped_);
  state.at("uninformed").get_to(uninformed_);
  start_losses_ = losses(state.at("start_losses"));
  state.at("window").get_to(window_);
  beginning_ = losses(state.at("beginning"));
  state.at("squares").get_to(squares_);
  state.at("last_loss").get_to(last_);
  interval_ = losses(state.at("interval"));
  recent_ = losses(state.at("recent"));
  state.at("collapsed").get_to(collapsed_);
}

}  // namespace peft
