#include "src/train/step.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "peft/objectives/objective.h"
#include "peft/train/batch.h"

namespace peft {
namespace {

/// The active jobs' micro-batch number m as one packed batch: examples sorted by adapter, each with the weight 1 / (normaliser of its step).
struct MicroBatch {
  std::vector<BatchExample> examples;
  BatchTargets targets;
  std::vector<double> weights;
};

MicroBatch gather(const Objective& objective, const std::vector<std::unique_ptr<Job>>& jobs,
                  const std::vector<Step>& steps, const std::vector<double>& normalisers, std::size_t m,
                  std::vector<int64_t>& ordinals) {
  MicroBatch batch;
  for (std::size_t k = 0; k < jobs.size(); ++k) {
    if (m >= steps[k].micro_batches.size()) continue;
    const EncodedSplit& split = jobs[k]->train_split();
    const TrainConfig& config = jobs[k]->config().train;
    const auto seed = static_cast<uint64_t>(config.data_seed.value_or(config.seed));
    for (const int64_t example : steps[k].micro_batches[m]) {
      batch.examples.push_back({&split, example, static_cast<int64_t>(k), ordinals[k],
                                objective.drawn(split, example, seed, steps[k].epoch)});
      const BatchExample& added = batch.examples.back();
      ordinals[k] += added.sequences();
      batch.targets.add(split, example, added.chosen);
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

}  // namespace

std::vector<double> StepLosses::means() const {
  std::vector<double> sums(tokens.size(), 0.0);
  const at::Tensor all = at::cat(values).to(at::kCPU, at::kDouble);
  for (std::size_t i = 0; i < weights.size(); ++i) sums[adapters[i]] += all.const_data_ptr<double>()[i] * weights[i];
  return sums;
}

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
    const MicroBatch batch = gather(objective, jobs, steps, normalisers, m, ordinals);
    const at::Tensor logits =
        batch_logits(bank.model, *bank.method, batch.examples, objective.logit_rows(), dropout, bank.features);
    const at::Tensor each = objective.losses(logits, batch.targets, bank.model.execution());
    // A sum over adapters of means over their own examples: the gradients of one never depend on the others.
    (each * at::tensor(at::ArrayRef<double>(batch.weights)).to(each.options())).sum().backward();
    losses.values.push_back(each.detach());
    losses.weights.insert(losses.weights.end(), batch.weights.begin(), batch.weights.end());
    for (const BatchExample& e : batch.examples) {
      losses.adapters.push_back(e.adapter);
      losses.tokens[e.adapter] += e.tokens();
    }
  }
  return losses;
}

}  // namespace peft
