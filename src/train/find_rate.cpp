#include "peft/train/find_rate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "peft/base/fields.h"
#include "peft/base/files.h"
#include "peft/metrics/metrics.h"
#include "src/train/config_file.h"
#include "src/train/job_data.h"
#include "src/train/job_progress.h"

namespace peft {
namespace {

constexpr double kRisen = 1.2;      // times the first loss: a run that ends there has diverged, if slowly
constexpr int64_t kLossParts = 10;  // first and last loss are means over a tenth of the steps

/// Steps of the whole run.
int64_t planned_steps(RunConfig config) {
  if (config.train.max_steps > 0) return config.train.max_steps;
  Datasets datasets;
  const std::unique_ptr<Tokenizer> tokenizer = Tokenizer::load(config.model.path);
  const JobData data = load_job_data(config, *tokenizer, datasets);
  return JobProgress(config.train, *data.train).total_steps();
}

/// Mean over the first or the last part of a run; nothing where there is none, or where it is not a number.
std::optional<double> mean(const std::vector<double>& losses, bool last) {
  if (losses.empty()) return std::nullopt;
  const std::size_t part = std::max<std::size_t>(1, losses.size() / kLossParts);
  const auto begin = last ? losses.end() - static_cast<std::ptrdiff_t>(part) : losses.begin();
  const double sum = std::accumulate(begin, begin + static_cast<std::ptrdiff_t>(part), 0.0);
  return std::isfinite(sum) ? std::optional(sum / static_cast<double>(part)) : std::nullopt;
}

/// Of a log that has a line for every step; NaN where a step was skipped.
std::vector<double> losses_of(const std::filesystem::path& log) {
  std::vector<double> losses;
  if (!std::filesystem::exists(log)) return losses;
  const MappedFile file(log);
  std::string_view text = file.text();
  for (auto end = text.find('\n'); end != std::string_view::npos; end = text.find('\n')) {
    const Json line = Json::parse(text.substr(0, end), nullptr, /*allow_exceptions=*/false);
    text.remove_prefix(end + 1);
    if (!line.is_object() || !line.contains("loss")) continue;
    losses.push_back(line["loss"].is_number() ? line["loss"].get<double>() : std::numeric_limits<double>::quiet_NaN());
  }
  return losses;
}

/// What a better result is longer in.
double height(const RateResult& result, bool scored, bool lower) {
  const double value = scored ? result.score.value_or(0.0) : result.loss.value_or(0.0);
  return (scored ? lower : true) ? -value : value;
}

}  // namespace

SweepConfig find_rate_sweep(const std::filesystem::path& file, const std::vector<std::string>& sets) {
  Json json = read_config_file(file, sets);
  if (json.is_object() && json.contains("sweep"))
    throw_error<ConfigError>("{}: sweep: --find-rate takes the config of one run, without this section", file.string());
  const RunConfig config = RunConfig::from_json(json, file.string());
  const int64_t all = planned_steps(config), steps = std::min(all, kFindRateSteps);
  if (!json.contains("train")) json["train"] = Json::object();
  Json& train = json["train"];
  if (config.train.warmup_steps > 0) {
    const double part = static_cast<double>(config.train.warmup_steps) / static_cast<double>(all);
    train["warmup_steps"] = std::llround(part * static_cast<double>(steps));
  }
  train.erase("early_stopping_patience");
  train["learning_rates"] =
      config.train.learning_rates;  // the method's own, too, which a rate beside them would put aside
  train.update({{"max_steps", steps}, {"eval_steps", 0}, {"save_steps", 0}, {"logging_steps", 1}});
  json["output"] = config.output + "-find-rate";
  json["sweep"] = {{"train.learning_rate", kTriedRates}};
  return SweepConfig::from_json(std::move(json), file.string());
}

bool RateResult::diverged() const {
  return !failure.empty() || !loss || !std::isfinite(*loss) || (first && *loss > kRisen * std::abs(*first));
}

RateChoice choose_rate(const std::vector<RateResult>& results, bool lower_is_better, int64_t dev_examples) {
  std::vector<std::size_t> steady, candidates;
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (results[i].diverged()) continue;
    steady.push_back(i);
    if (i + 1 == results.size() || !results[i + 1].diverged()) candidates.push_back(i);
  }
  if (steady.empty()) return {std::nullopt, "every rate diverged: the rate is not what is wrong, or it must be lower"};
  const bool at_the_edge = candidates.empty();
  if (at_the_edge) candidates = steady;
  const auto scored = [&](std::size_t i) { return results[i].score && std::isfinite(*results[i].score); };
  std::string why = "the lowest loss";
  if (std::any_of(candidates.begin(), candidates.end(), scored)) {
    std::erase_if(candidates, [&](std::size_t i) { return !scored(i); });
    const auto worse = [&](std::size_t a, std::size_t b) {
      return lower_is_better ? *results[a].score > *results[b].score : *results[a].score < *results[b].score;
    };
    const double best = *results[*std::max_element(candidates.begin(), candidates.end(), worse)].score;
    const bool share = !lower_is_better && best > 0 && best < 1 && dev_examples > 0;
    const double error = share ? std::sqrt(best * (1 - best) / static_cast<double>(dev_examples)) : 0.0;
    std::erase_if(candidates, [&](std::size_t i) { return std::abs(*results[i].score - best) > error; });
    why = candidates.size() == 1 ? "the best score"
                                 : fmt::format("the lowest loss of the {} rates whose scores are {}", candidates.size(),
                                               error > 0 ? "the best within one standard error" : "the best");
  }
  const auto lowest = *std::min_element(candidates.begin(), candidates.end(), [&](std::size_t a, std::size_t b) {
    return *results[a].loss < *results[b].loss;  // the first of equal ones
  });
  if (at_the_edge) why += "; the next higher rate diverged";
  if (const std::size_t top = steady.back();
      top + 1 < results.size() && top != lowest && scored(top) && scored(lowest) &&
      (lower_is_better ? *results[top].score < *results[lowest].score : *results[top].score > *results[lowest].score)) {
    why += fmt::format("; {:g} scored better, but the next rate diverged", results[top].rate);
  }
  if (lowest + 1 == results.size()) why += "; it is the highest tried, a higher one may be better still";
  if (lowest == 0) why += "; it is the lowest tried, a lower one may be better still";
  return {lowest, why};
}

std::string rate_curve(const std::vector<RateResult>& results, const std::string& metric, int64_t dev_examples) {
  constexpr int kBar = 30;
  const bool lower = !metric.empty() && lower_is_better(metric);
  const RateChoice choice = choose_rate(results, lower, dev_examples);
  const bool scored =
      std::any_of(results.begin(), results.end(), [](const auto& r) { return r.score && !r.diverged(); });
  double low = 0.0, high = 0.0;
  bool any = false;
  for (const RateResult& r : results) {
    if (r.diverged() || (scored && !r.score)) continue;
    const double h = height(r, scored, lower);
    low = any ? std::min(low, h) : h;
    high = any ? std::max(high, h) : h;
    any = true;
  }
  const std::string name = metric.empty() ? "score" : metric;
  const std::size_t width = std::max<std::size_t>(8, name.size());
  std::string text = fmt::format("| {:>13} | {:>8} | {:>{}} | {:{}} | note |\n|---:|---:|---:|---|---|\n",
                                 "learning_rate", "loss", name, width, scored ? "score" : "fall of the loss", kBar);
  for (std::size_t i = 0; i < results.size(); ++i) {
    const RateResult& r = results[i];
    const auto cell = [](const std::optional<double>& x) { return x ? fmt::format("{:.4f}", *x) : std::string(); };
    int bar = 0;  // the worst has the shortest
    if (!r.diverged() && (!scored || r.score))
      bar = high > low ? 1 + static_cast<int>((kBar - 1) * (height(r, scored, lower) - low) / (high - low)) : kBar;
    text += fmt::format("| {:>13} | {:>8} | {:>{}} | {:{}} | {} |\n", fmt::format("{:g}", r.rate), cell(r.loss),
                        cell(r.score), width, std::string(static_cast<std::size_t>(bar), '#'), kBar,
                        choice.best == i ? "suggested"
                        : r.diverged()   ? "diverged"
                                         : "");
  }
  if (!choice.best) return text + fmt::format("\nNo rate is suggested: {}.\n", choice.why);
  return text + fmt::format("\nSuggested: train.learning_rate {:g}: {}.\n", results[*choice.best].rate, choice.why);
}

std::string find_rate_report(const SweepConfig& sweep, const std::vector<SweepOutcome>& outcomes) {
  std::vector<RateResult> results;
  std::string metric;
  int64_t examples = 0;
  std::optional<double> start;
  for (std::size_t i = 0; i < sweep.runs.size(); ++i) {
    RateResult result{.rate = sweep.runs[i].config.train.learning_rate.value(), .failure = outcomes[i].failure};
    const auto losses = losses_of(std::filesystem::path(sweep.runs[i].config.output) / "log.jsonl");
    if (!start) start = mean(losses, false);  // of the lowest rate: before anything is learned
    result.first = start;
    result.loss = mean(losses, true);
    const Json& metrics = outcomes[i].metrics;
    if (metrics.contains("best_metric")) {
      metric = metrics["best_metric"].get<std::string>();
      examples = metrics.value("eval_samples", int64_t{0});
      if (const auto score = metrics.find("eval_" + metric); score != metrics.end() && score->is_number())
        result.score = score->get<double>();
    }
    results.push_back(std::move(result));
  }
  const TrainConfig& train = sweep.runs.front().config.train;
  const std::string fixed = train.learning_rates.empty() ? "" : "; groups in train.learning_rates kept their own rates";
  return rate_curve(results, metric, examples) + fmt::format("{} steps each; the loss is the mean of the last {}{}.\n",
                                                             train.max_steps,
                                                             std::max<int64_t>(1, train.max_steps / kLossParts), fixed);
}

}  // namespace peft
