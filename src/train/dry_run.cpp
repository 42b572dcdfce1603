#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "peft/base/memory.h"
#include "peft/base/progress.h"
#include "peft/data/report.h"
#include "peft/train/sweep.h"
#include "src/train/forecast.h"
#include "src/train/setup.h"

namespace peft {
namespace {

using Clock = std::chrono::steady_clock;
using Jobs = std::vector<std::unique_ptr<Job>>;

constexpr std::size_t kListedTensors = 40;  // more of them are not worth reading

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// 12,345,678
std::string grouped(int64_t number) {
  std::string text = std::to_string(number);
  for (auto i = static_cast<int64_t>(text.size()) - 3; i > 0; i -= 3) text.insert(static_cast<std::size_t>(i), ",");
  return text;
}

/// 0.35 s, 48 s, 12 min 03 s, 2 h 05 min
std::string duration_text(double seconds) {
  constexpr int64_t kMinute = 60, kHour = 3600;
  const int64_t whole = std::llround(seconds);
  if (seconds < 10) return fmt::format("{:.2g} s", seconds);
  if (whole < kMinute) return fmt::format("{} s", whole);
  if (whole < kHour) return fmt::format("{} min {:02} s", whole / kMinute, whole % kMinute);
  return fmt::format("{} h {:02} min", whole / kHour, whole % kHour / kMinute);
}

std::string mebibytes(int64_t bytes) { return fmt::format("{} MiB", grouped((bytes + (1 << 19)) >> 20)); }

std::string line(std::string_view name, const std::string& value) { return fmt::format("{:<12}{}\n", name, value); }

std::string split_facts(const EncodedSplit* split) {
  if (split == nullptr) return "none with labels: nothing is evaluated, best/ is the last state";
  std::string text = fmt::format("{} examples, {} tokens", grouped(split->size()), grouped(split->offsets.back()));
  if (const int64_t cut = split->statistics.truncated_examples; cut > 0)
    text += fmt::format(", {} truncated", grouped(cut));
  return text;
}

/// What a few steps on the real data say about runs that train together.
struct BankForecast {
  std::string facts;    ///< a line each
  std::string details;  ///< data and trained tensors
  Json config;          ///< of the first run, resolved
  int64_t peak_memory_bytes = 0;
  double seconds = 0.0;  ///< of all runs, evaluations included
};

/// The first steps of all jobs, as a run would do them.
RunEstimate probe_steps(Bank& bank, const Jobs& jobs, const Probe& probe) {
  RunEstimate estimate;
  estimate.growth_bytes = probe.growth_bytes;
  DropoutContext dropout{.training = true, .seeds = {}, .steps = std::vector<int64_t>(jobs.size())};
  for (const auto& job : jobs) dropout.seeds.push_back(static_cast<uint64_t>(job->config().train.seed));
  for (int64_t s = 0; s < RunEstimate::kSteps; ++s) {
    const auto start = Clock::now();
    std::vector<Step> steps(jobs.size());
    std::vector<Optimizer::Due> due;
    int64_t work = 0;
    for (std::size_t k = 0; k < jobs.size(); ++k) {
      if (s >= jobs[k]->progress().total_steps()) continue;
      steps[k] = jobs[k]->progress().at(s);
      dropout.steps[k] = s;
      due.push_back({k, s, s});
      work += jobs[k]->work(bank, steps[k]);
    }
    if (due.empty()) break;
    const StepLosses losses = run_step(bank, jobs, steps, dropout);
    bank.optimizer->step(due);
    static_cast<void>(losses.means());
    estimate.add(seconds_since(start), work);
  }
  return estimate;
}

std::string model_facts(const Bank& bank) {
  int64_t numbers = 0;
  for (const auto& [name, tensor] : bank.model.named_tensors()) numbers += tensor.numel();
  return fmt::format("{} in {}: {} numbers of {}, on {}", bank.model.spec().model_type, bank.model.folder().string(),
                     grouped(numbers), bank.model.dtype() == at::kBFloat16 ? "bfloat16" : "float32",
                     bank.model.device().str());
}

std::string task_facts(const Job& job) {
  const TaskInfo& task = job.data().task;
  const std::string classes =
      task.labels.empty() ? "" : fmt::format(" of {} classes ({})", task.labels.size(), fmt::join(task.labels, ", "));
  return fmt::format("{}: {}{}; {} chooses best/", task.name, task.objective, classes,
                     *job.config().train.metric_for_best_model);
}

std::string method_facts(const Bank& bank) {
  int64_t numbers = 0;
  for (const auto& [name, tensor] : bank.model.named_tensors()) numbers += tensor.numel();
  const int64_t trained = bank.method->trainable_parameters();
  return fmt::format("{}: {} trained numbers, {:.3f} % of the model's", bank.method->type(), grouped(trained),
                     100.0 * static_cast<double>(trained) / static_cast<double>(numbers));
}

std::string step_facts(const Job& job) {
  const TrainConfig& train = job.config().train;
  const JobProgress& progress = job.progress();
  const int64_t accumulation = train.gradient_accumulation_steps;
  std::string text =
      fmt::format("{}, {} in an epoch, {} a step", grouped(progress.total_steps()), grouped(progress.steps_in_epoch()),
                  train.batch_size ? fmt::format("{} examples", *train.batch_size * accumulation)
                                   : fmt::format("{} tokens", *train.batch_tokens * accumulation));
  if (job.dev_split() != nullptr) text += fmt::format("; evaluations {}", grouped(progress.evaluations()));
  return text;
}

std::string tensors_text(const Method& method) {
  if (method.parameters().size() > kListedTensors) return "";
  std::string text = "trained tensors:\n";
  for (const Parameter& p : method.parameters())
    text += fmt::format("  {:60} {:>10}  {}\n", p.name, p.value.numel() / method.adapters(), p.group);
  return text;
}

BankForecast forecast(const std::vector<RunConfig>& configs) {
  check_bank(configs);
  set_threads(configs.front().train);
  Bank bank = open_bank(configs.front());
  Datasets datasets;
  Jobs jobs;
  for (const RunConfig& config : configs)
    jobs.push_back(std::make_unique<Job>(config, *bank.tokenizer, datasets, std::make_unique<RunRecorder>()));
  attach_method(bank, jobs);

  const auto start = Clock::now();
  const double share = cache_features(bank, jobs, 1);
  const double caching = seconds_since(start) / share;
  const Probe probe = probe_longest(bank, jobs);
  RunEstimate estimate = probe_steps(bank, jobs, probe);
  estimate.other_seconds = caching;
  double work = 0.0, evaluations = 0.0;
  for (const auto& job : jobs) {
    work += job->total_work(bank);
    evaluations += static_cast<double>(job->progress().evaluations());
    if (job->dev_split() != nullptr && job->test_split() != nullptr)  // once, and longer in proportion
      evaluations += static_cast<double>(job->test_split()->offsets.back()) /
                     static_cast<double>(job->dev_split()->offsets.back());
  }
  const double steps_take = estimate.train_seconds(work);
  const double evaluating = probe.evaluation_seconds * evaluations;

  const Job& job = *jobs.front();
  BankForecast found;
  found.peak_memory_bytes = estimate.peak_memory_bytes;
  found.seconds = steps_take + evaluating;
  found.config = job.config().to_json();
  found.facts = line("model", model_facts(bank)) + line("task", task_facts(job)) +
                line("train", split_facts(&job.train_split())) + line("dev", split_facts(job.dev_split())) +
                (job.test_split() == nullptr ? "" : line("test", split_facts(job.test_split()))) +
                line("method", method_facts(bank)) + line("steps", step_facts(job)) +
                line("memory", fmt::format("{} at its peak, measured with the longest batch ({} tokens)",
                                           mebibytes(found.peak_memory_bytes), grouped(probe.longest_tokens))) +
                line("time", fmt::format("{}: {} of training and {} of evaluating, by {} steps on the real data",
                                         duration_text(found.seconds), duration_text(steps_take),
                                         duration_text(evaluating), estimate.steps));
  found.details = describe_dataset_text(job.data()) + tensors_text(*bank.method);
  return found;
}

}  // namespace

std::string dry_run(const RunConfig& config) {
  const BankForecast found = forecast({config});
  return fmt::format("{}{}\n{}\nconfig:\n{}", found.facts, line("output", config.output), found.details,
                     to_pretty_string(found.config));
}

std::string dry_run(const SweepConfig& sweep, const std::vector<std::vector<std::size_t>>& banks) {
  Progress progress("banks looked at", static_cast<int64_t>(banks.size()));
  int64_t peak = 0;
  double seconds = 0.0;
  std::string text;
  for (std::size_t b = 0; b < banks.size(); ++b) {
    std::vector<RunConfig> configs;
    for (const std::size_t i : banks[b]) configs.push_back(sweep.runs[i].config);
    const BankForecast found = forecast(configs);
    peak = std::max(peak, found.peak_memory_bytes);
    seconds += found.seconds;
    text += fmt::format("\nbank {}: {} runs\n{}", b + 1, banks[b].size(), found.facts);
    for (const std::size_t i : banks[b]) text += fmt::format("  {}\n", sweep.runs[i].name);
    progress.update(static_cast<int64_t>(b + 1));
  }
  return line("sweep", fmt::format("{} runs in {} banks", sweep.runs.size(), banks.size())) +
         line("memory", mebibytes(peak) + " at its peak") + line("time", duration_text(seconds)) +
         line("output", sweep.output) + text;
}

}  // namespace peft
