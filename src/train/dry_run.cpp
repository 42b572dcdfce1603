#include "src/train/dry_run.h"

#include <ATen/ATen.h>

#include "peft/data/report.h"
#include "src/train/setup.h"

namespace peft {
namespace {

int64_t bytes_of(const std::map<std::string, at::Tensor>& tensors) {
  int64_t bytes = 0;
  for (const auto& [name, tensor] : tensors) bytes += static_cast<int64_t>(tensor.nbytes());
  return bytes;
}

}  // namespace

int64_t activation_bytes_per_token(const StackSpec& stack, int64_t element_bytes) {
  const int64_t projections = stack.heads * stack.head_dim + 2 * stack.key_width();
  return stack.depth() * (projections + 6 * stack.width + 2 * stack.feed_forward) * element_bytes;
}

std::string dry_run(const RunConfig& config) {
  set_threads(config.train);
  Bank bank = open_bank(config);
  Datasets datasets;
  std::vector<std::unique_ptr<Job>> jobs;
  jobs.push_back(std::make_unique<Job>(config, *bank.tokenizer, datasets, std::make_unique<RunRecorder>()));
  attach_method(bank, jobs);
  const Job& job = *jobs.front();
  const JobProgress& progress = job.progress();

  const auto weights = bank.model.named_tensors();
  int64_t backbone = 0;
  for (const auto& [name, tensor] : weights) backbone += tensor.numel();
  const int64_t trained = bank.method->trainable_parameters();
  const Step first = progress.next();
  int64_t tokens = 0;
  for (const auto& micro : first.micro_batches) {
    int64_t in_micro = 0;
    for (const int64_t e : micro)
      in_micro += job.train_split().tokens(e) + job.train_split().sequences(e) * bank.method->virtual_tokens();
    tokens = std::max(tokens, in_micro);
  }
  int64_t activations = 0;
  for (const StackSpec& stack : bank.model.spec().stacks)
    activations +=
        tokens * activation_bytes_per_token(stack, static_cast<int64_t>(at::elementSize(bank.model.dtype())));
  const auto mib = [](int64_t bytes) { return static_cast<double>(bytes) / (1 << 20); };

  std::string text = to_pretty_string(job.config().to_json());
  text += fmt::format(
      "\nbackbone parameters  {}\ntrainable parameters {} ({:.3f} %)\nsteps                {} ({} in an epoch)\n",
      backbone, trained, 100.0 * static_cast<double>(trained) / static_cast<double>(backbone), progress.total_steps(),
      std::max<int64_t>(1, progress.steps_in_epoch()));
  for (const Parameter& p : bank.method->parameters()) {
    if (bank.method->parameters().size() > 40) break;
    text += fmt::format("  {:60} {:>10}  {}\n", p.name, p.value.numel(), p.group);
  }
  text += fmt::format(
      "memory estimate      weights {:.0f} MiB, trained state {:.1f} MiB, activations of the first batch ({} tokens) "
      "{:.0f} MiB\n\n",
      mib(bytes_of(weights)), mib(trained * 16), tokens, mib(activations));
  return text + describe_dataset_text(job.data());
}

}  // namespace peft
