#include "peft/train/trainer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <limits>

#include "peft/base/log.h"
#include "peft/base/progress.h"
#include "peft/train/interrupt.h"
#include "src/train/forecast.h"
#include "src/train/job.h"
#include "src/train/setup.h"
#include "src/train/step.h"

namespace peft {
namespace {

using Clock = std::chrono::steady_clock;

void train_loop(Bank& bank, const std::vector<std::unique_ptr<Job>>& jobs, const TrainOptions& options) {
  int64_t done = 0, total = 0;
  for (const auto& job : jobs) total += job->progress().total_steps();
  std::optional<Progress> progress;
  if (!options.progress) progress.emplace("training", total);
  DropoutContext dropout{.training = true, .seeds = {}, .steps = std::vector<int64_t>(jobs.size())};
  for (const auto& job : jobs) dropout.seeds.push_back(static_cast<uint64_t>(job->config().train.seed));
  const auto any_active = [&] {
    return std::any_of(jobs.begin(), jobs.end(), [](const auto& job) { return job->active(); });
  };
  while (any_active()) {
    if (InterruptGuard::requested()) {
      for (const auto& job : jobs) {
        if (!job->active()) continue;
        job->save(bank);
        job->interrupt();
      }
      return;
    }
    const auto start = Clock::now();
    std::vector<Step> steps(jobs.size());
    std::vector<std::size_t> running;
    for (std::size_t k = 0; k < jobs.size(); ++k) {
      if (!jobs[k]->active()) continue;
      steps[k] = jobs[k]->progress().next();
      dropout.steps[k] = jobs[k]->step();
      running.push_back(k);
    }
    const StepLosses losses = run_step(bank, jobs, steps, dropout);
    std::vector<Optimizer::Due> due;
    for (const std::size_t k : running) due.push_back(jobs[k]->due_step());
    const std::vector<Optimizer::Report> reports = bank.optimizer->step(due);
    const std::vector<double> means = losses.means();
    const double seconds =
        std::chrono::duration<double>(Clock::now() - start).count() / static_cast<double>(running.size());
    bool saves = false;
    for (std::size_t i = 0; i < running.size(); ++i) {
      const std::size_t k = running[i];
      saves |= jobs[k]->finish_step(bank, steps[k], reports[i], means[k], losses.tokens[k], seconds);
    }
    for (const std::size_t k : running) {
      if (saves && jobs[k]->active()) jobs[k]->save(bank);
    }
    for (const std::size_t k : running) {
      if (!jobs[k]->active()) jobs[k]->record_stop();
    }
    done = 0;
    for (const auto& job : jobs) {
      job->complete_if_due(bank);
      done += job->active() ? job->step() : job->progress().total_steps();
    }
    const std::string note = jobs.size() == 1 ? jobs[0]->progress().note() : fmt::format("{} jobs", running.size());
    if (progress) progress->update(done, note);
    if (options.progress) options.progress(static_cast<double>(done) / static_cast<double>(total), note);
  }
}

}  // namespace

bool holds_run(const RunConfig& config) {
  const RunFolder folder(config.output, /*resume=*/true);
  return folder.found() != RunFolder::Found::nothing || std::filesystem::exists(folder.path() / "config.json");
}

std::vector<JobResult> train_bank(const std::vector<RunConfig>& configs, const TrainOptions& options) {
  const InterruptGuard interrupts;  // a signal while loading stops the run before its first step
  check_bank(configs);
  std::vector<JobResult> results(configs.size());
  std::vector<std::size_t> open;
  std::vector<std::unique_ptr<RunRecorder>> recorders;
  for (std::size_t i = 0; i < configs.size(); ++i) {  // finished runs need no model
    RunFolder folder(configs[i].output, options.resume);
    const bool ended = folder.found() == RunFolder::Found::finished || folder.found() == RunFolder::Found::stopped;
    if (ended && folder.check_config(configs[i]) && folder.found() == RunFolder::Found::finished) folder.prolong();
    if (folder.found() == RunFolder::Found::stopped) {
      results[i].code = ExitCode::guard;
      const Json message = folder.read_end("stopped.json").value("message", Json());
      results[i].message = message.is_string() ? message.get<std::string>() : folder.stopped().string();
    } else if (folder.found() == RunFolder::Found::finished) {
      results[i].metrics = folder.read_end("metrics.json");
      log_info("{}: finished before", configs[i].output);
      folder.warn_of_losses();
    } else {
      open.push_back(i);
      recorders.push_back(std::make_unique<FolderRecorder>(std::move(folder)));
    }
  }
  if (open.empty()) return results;

  set_threads(configs.front().train);
  Bank bank = open_bank(configs.front());
  std::vector<std::unique_ptr<Job>> jobs;
  Datasets datasets;
  for (std::size_t k = 0; k < open.size(); ++k) {
    Job::OnEvaluation on_evaluation;
    if (options.on_evaluation) on_evaluation = std::bind_front(options.on_evaluation, open[k]);
    jobs.push_back(std::make_unique<Job>(configs[open[k]], *bank.tokenizer, datasets, std::move(recorders[k]),
                                         std::move(on_evaluation)));
  }
  attach_method(bank, jobs);
  const Json provenance = make_provenance(bank);
  // A row's values depend in their last bits on the rows beside it, so a bank goes on from one step: that of the job
  // that lags behind. One without a checkpoint lags where the process ended between its bank's first saves; else it is
  // new.
  const bool begun =
      std::any_of(jobs.begin(), jobs.end(), [](const auto& job) { return job->recorder().has_previous_checkpoint(); });
  int64_t step = std::numeric_limits<int64_t>::max();
  for (const auto& job : jobs) {
    const int64_t saved = job->recorder().saved_step();
    if (!begun || saved > 0) step = std::min(step, saved);
  }
  for (const auto& job : jobs) job->says_findings(options.says_findings);
  for (std::size_t k = 0; k < jobs.size(); ++k) jobs[k]->open(bank, static_cast<int64_t>(k), provenance, step);
  const auto start = Clock::now();
  cache_features(bank, jobs);
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  for (const auto& job : jobs) job->charge(seconds / static_cast<double>(jobs.size()));
  const bool trains = std::any_of(jobs.begin(), jobs.end(), [](const auto& job) { return job->active(); });
  if (trains && !InterruptGuard::requested()) {
    const Probe probe = probe_longest(bank, jobs);
    for (const auto& job : jobs) job->expect_growth(probe.growth_bytes);
  }
  train_loop(bank, jobs, options);
  for (std::size_t k = 0; k < jobs.size(); ++k) results[open[k]] = jobs[k]->result();
  return results;
}

}  // namespace peft
