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

/// What the backward pass keeps per token: hidden states, queries, keys and values, attention output, norms and feed-forward
/// activations of every layer (docs/kernels.md#what-a-frozen-backbone-allows).
int64_t activation_bytes_per_token(const ModelSpec& spec, std::size_t element) {
  const StackSpec& stack = spec.first();
  const int64_t per_layer =
      stack.heads * stack.head_dim + 2 * stack.key_width() + 6 * stack.width + 2 * stack.feed_forward;
  return stack.depth() * per_layer * static_cast<int64_t>(element);
}

}  // namespace

std::string dry_run(const RunConfig& config) {
  RunConfig resolved = config;
  set_threads(config.train);
  Bank bank = load_backbone(config);
  std::map<std::string, std::shared_ptr<const Dataset>> datasets;
  std::vector<std::unique_ptr<Job>> jobs;
  resolved.output = config.output + ".dry-run";  // looked at only: a finished run may be dry-run again
  jobs.push_back(std::make_unique<Job>(resolved, TrainOptions{.resume = true}, *bank.tokenizer, datasets));
  attach_method(bank, jobs);
  const Job& job = *jobs.front();
  resolved = job.config();
  resolved.output = config.output;

  const auto weights = bank.model.named_tensors();
  int64_t backbone = 0;
  for (const auto& [name, tensor] : weights) backbone += tensor.numel();
  const int64_t trained = bank.method->trainable_parameters();
  const Step first = job.next();
  int64_t tokens = 0;
  for (const auto& micro : first.micro_batches) {
    int64_t in_micro = 0;
    for (const int64_t e : micro)
      in_micro += job.train_split().length(e) + job.train_split().sequences(e) * bank.method->virtual_tokens();
    tokens = std::max(tokens, in_micro);
  }
  const int64_t activations =
      tokens * activation_bytes_per_token(bank.model.spec(), at::elementSize(bank.model.dtype()));
  const auto mib = [](int64_t bytes) { return static_cast<double>(bytes) / (1 << 20); };

  std::string text = to_pretty_string(resolved.to_json());
  text += fmt::format(
      "\nbackbone parameters  {}\ntrainable parameters {} ({:.3f} %)\nsteps                {} ({} in an epoch)\n",
      backbone, trained, 100.0 * static_cast<double>(trained) / static_cast<double>(backbone), job.total_steps(),
      std::max<int64_t>(1, job.steps_in_epoch()));
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
