#include "peft/train/trainer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <limits>

#include "peft/base/log.h"
#include "peft/base/progress.h"
#include "peft/objectives/objective.h"
#include "peft/train/batch.h"
#include "peft/train/interrupt.h"
#include "src/train/job.h"
#include "src/train/setup.h"

namespace peft {
namespace {

using Clock = std::chrono::steady_clock;

/// The active jobs' micro-batch number m as one packed batch: examples sorted by adapter, each with the weight 1 / (normaliser of its step).
struct MicroBatch {
  std::vector<BatchExample> examples;
  BatchTargets targets;
  std::vector<double> weights;
};

MicroBatch gather(const std::vector<std::unique_ptr<Job>>& jobs, const std::vector<Step>& steps,
                  const std::vector<double>& normalisers, std::size_t m, std::vector<int64_t>& ordinals) {
  MicroBatch batch;
  for (std::size_t k = 0; k < jobs.size(); ++k) {
    if (m >= steps[k].micro_batches.size()) continue;
    const EncodedSplit& split = jobs[k]->train_split();
    for (const int64_t example : steps[k].micro_batches[m]) {
      batch.examples.push_back({&split, example, static_cast<int64_t>(k), ordinals[k]});
      ordinals[k] += split.sequences(example);
      batch.targets.add(split, example);
      batch.weights.push_back(1.0 / normalisers[k]);
    }
  }
  return batch;
}

/// What the mean loss of a job's step is over: examples, or what else its objective counts.
double normaliser(const Objective& objective, const EncodedSplit& split, const Step& step) {
  int64_t sum = 0;
  for (const auto& micro : step.micro_batches)
    for (const int64_t example : micro) sum += objective.normaliser(split, example);
  return static_cast<double>(std::max<int64_t>(sum, 1));  // nothing counted: all losses are 0
}

/// What the micro-batches of a step leave. The losses stay on the device until the optimiser, which reads a norm, has waited for it.
struct StepLosses {
  std::vector<at::Tensor> values;  // [examples] of each micro-batch
  std::vector<int64_t> adapters;
  std::vector<double> weights;
  std::vector<int64_t> tokens;  // [K]

  /// Mean loss of each job: sums in float64 on the host, in the order of the examples, so that neither device nor micro-batches change them.
  std::vector<double> means() const {
    std::vector<double> sums(tokens.size(), 0.0);
    const at::Tensor all = at::cat(values).to(at::kCPU, at::kDouble);
    for (std::size_t i = 0; i < weights.size(); ++i) sums[adapters[i]] += all.const_data_ptr<double>()[i] * weights[i];
    return sums;
  }
};

/// Forward and backward of one step of every active job.
StepLosses run_step(Bank& bank, const std::vector<std::unique_ptr<Job>>& jobs, const std::vector<Step>& steps,
                    const DropoutContext& dropout) {
  const Objective& objective = objective_of(jobs.front()->data().task);
  StepLosses losses;
  losses.tokens.resize(jobs.size());
  std::vector<int64_t> ordinals(jobs.size(), 0);
  std::vector<double> normalisers;
  std::size_t micro_batches = 0;
  for (std::size_t k = 0; k < jobs.size(); ++k) {
    normalisers.push_back(normaliser(objective, jobs[k]->train_split(), steps[k]));
    micro_batches = std::max(micro_batches, steps[k].micro_batches.size());
  }
  bank.optimizer->zero_gradients();
  for (std::size_t m = 0; m < micro_batches; ++m) {
    const MicroBatch batch = gather(jobs, steps, normalisers, m, ordinals);
    const at::Tensor logits =
        batch_logits(bank.model, *bank.method, batch.examples, objective.logit_rows(), dropout, bank.features);
    const at::Tensor each = objective.losses(logits, batch.targets, bank.model.execution());
    // A sum over adapters of means over their own examples: the gradients of one never depend on the others.
    (each * at::tensor(at::ArrayRef<double>(batch.weights)).to(each.options())).sum().backward();
    losses.values.push_back(each.detach());
    losses.weights.insert(losses.weights.end(), batch.weights.begin(), batch.weights.end());
    for (const BatchExample& e : batch.examples) {
      losses.adapters.push_back(e.adapter);
      losses.tokens[e.adapter] += e.split->tokens(e.example);
    }
  }
  return losses;
}

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
      results[i].message = folder.read_end("stopped.json").value("message", folder.stopped().string());
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
  for (std::size_t k = 0; k < jobs.size(); ++k) jobs[k]->open(bank, static_cast<int64_t>(k), provenance, step);
  const auto start = Clock::now();
  cache_features(bank, jobs);
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  for (const auto& job : jobs) job->charge(seconds / static_cast<double>(jobs.size()));
  train_loop(bank, jobs, options);
  for (std::size_t k = 0; k < jobs.size(); ++k) results[open[k]] = jobs[k]->result();
  return results;
}

}  // namespace peft
