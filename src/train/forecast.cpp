#include "src/train/forecast.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>
#include <set>

#include "peft/objectives/objective.h"
#include "peft/train/batch.h"

namespace peft {
namespace {

using Clock = std::chrono::steady_clock;
using Jobs = std::vector<std::unique_ptr<Job>>;

constexpr int64_t kScannedSteps = 10'000;  // of a long run; its epochs repeat the same lengths in another order

// In bfloat16 on a CPU, oneDNN compiles kernels for every number of rows that a product has, and keeps the latest
// (docs/performance.md#memory).
constexpr int64_t kKernelBytes = 512 << 10;
constexpr int64_t kKernelsOfSize = 11;  // of the products of a step with one number of tokens
constexpr int64_t kKeptKernels = 1024;  // oneDNN's default

/// A micro-batch of all jobs, as a step of its own.
struct Longest {
  std::vector<Step> steps;
  std::vector<int64_t> numbers;  // of the steps that they are from
  int64_t tokens = 0;
  std::set<int64_t> sizes = {};  // of all micro-batches
};

Longest find_longest(const Bank& bank, const Jobs& jobs) {
  Longest longest;
  int64_t count = 0;
  for (const auto& job : jobs) count = std::max(count, job->progress().total_steps() - job->step());
  for (int64_t s = 0; s < std::min(count, kScannedSteps); ++s) {
    std::vector<Step> steps(jobs.size());
    std::size_t micro_batches = 0;
    for (std::size_t k = 0; k < jobs.size(); ++k) {
      if (jobs[k]->step() + s >= jobs[k]->progress().total_steps()) continue;
      steps[k] = jobs[k]->progress().at(jobs[k]->step() + s);
      micro_batches = std::max(micro_batches, steps[k].micro_batches.size());
    }
    for (std::size_t m = 0; m < micro_batches; ++m) {
      int64_t tokens = 0;
      for (std::size_t k = 0; k < jobs.size(); ++k) {
        if (m >= steps[k].micro_batches.size()) continue;
        for (const int64_t example : steps[k].micro_batches[m])
          tokens += work_of(bank, jobs[k]->train_split(), example);
      }
      longest.sizes.insert(tokens);
      if (tokens <= longest.tokens) continue;
      longest.steps.assign(jobs.size(), {});
      longest.numbers.assign(jobs.size(), 0);
      longest.tokens = tokens;
      for (std::size_t k = 0; k < jobs.size(); ++k) {
        if (m >= steps[k].micro_batches.size()) continue;
        longest.steps[k].micro_batches = {steps[k].micro_batches[m]};
        longest.numbers[k] = jobs[k]->step() + s;
      }
    }
  }
  return longest;
}

/// Seconds of an evaluation of `job`, by its largest batch.
double probe_evaluation(Bank& bank, const Job& job, int64_t k) {
  const at::NoGradGuard no_grad;
  const DropoutContext no_dropout;
  const EncodedSplit& split = *job.dev_split();
  std::vector<BatchExample> examples;
  int64_t all = 0, probed = 0;
  for (int64_t e = 0; e < split.size(); ++e) all += work_of(bank, split, e);
  const auto batches = length_batches(split, bank.method->virtual_tokens());
  for (const int64_t example : batches.front()) {
    examples.push_back({&split, example, k, 0});
    probed += work_of(bank, split, example);
  }
  const auto start = Clock::now();
  const LogitRows rows = objective_of(job.data().task).logit_rows();
  const at::Tensor logits = batch_logits(bank.model, *bank.method, examples, rows, no_dropout, bank.features);
  static_cast<void>(logits.sum().item());  // a GPU has done it by then
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  static_cast<void>(bank.method->end_evaluation());  // its facts are those of no evaluation
  return seconds * static_cast<double>(all) / static_cast<double>(std::max<int64_t>(probed, 1));
}

}  // namespace

int64_t work_of(const Bank& bank, const EncodedSplit& split, int64_t example) {
  return split.tokens(example) + split.sequences(example) * bank.method->virtual_tokens();
}

Probe probe_longest(Bank& bank, const Jobs& jobs) {
  Probe probe;
  const Longest longest = find_longest(bank, jobs);
  if (longest.tokens == 0) return probe;
  probe.longest_tokens = longest.tokens;
  if (bank.model.device().is_cpu() && bank.model.dtype() == at::kBFloat16 && bank.features.empty()) {
    const auto seen = 1 + RunEstimate::kSteps;  // sizes, by the time that the memory is read
    const auto sizes = std::min(static_cast<int64_t>(longest.sizes.size()), kKeptKernels / kKernelsOfSize);
    probe.growth_bytes = std::max<int64_t>(0, sizes - seen) * kKernelsOfSize * kKernelBytes;
  }
  DropoutContext dropout{.training = true, .seeds = {}, .steps = longest.numbers};
  for (const auto& job : jobs) dropout.seeds.push_back(static_cast<uint64_t>(job->config().train.seed));
  static_cast<void>(run_step(bank, jobs, longest.steps, dropout).means());
  bank.optimizer->discard_gradients();
  if (jobs.front()->dev_split() != nullptr) probe.evaluation_seconds = probe_evaluation(bank, *jobs.front(), 0);
  return probe;
}

}  // namespace peft
