#include "src/train/forecast.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "src/train/setup.h"
#include "tests/support/tiny_task.h"

namespace peft {
namespace {

/// A bank that is ready for its first step.
struct ReadyBank {
  explicit ReadyBank(const std::vector<RunConfig>& configs) : bank(open_bank(configs.front())) {
    for (const RunConfig& config : configs)
      jobs.push_back(std::make_unique<Job>(config, *bank.tokenizer, datasets, std::make_unique<RunRecorder>()));
    attach_method(bank, jobs);
  }
  Datasets datasets;
  Bank bank;
  std::vector<std::unique_ptr<Job>> jobs;
};

TEST(ProbeLongest, FindsTheLongestMicroBatchOfAllStepsAndTrainsNothing) {
  const TinyTask task("forecast");
  const Json train{{"max_steps", 25}, {"batch_size", 4}, {"gradient_accumulation_steps", 2}};
  Json other = train;
  other["seed"] = 7;
  const Json method{{"type", "prompt"}, {"num_virtual_tokens", 3}};
  ReadyBank ready({task.run("a", method, train), task.run("b", method, other)});
  int64_t longest = 0;
  for (int64_t s = 0; s < 25; ++s) {
    const Step first = ready.jobs[0]->progress().at(s), second = ready.jobs[1]->progress().at(s);
    for (std::size_t m = 0; m < first.micro_batches.size(); ++m) {
      int64_t tokens = 0;
      for (const Step* step : {&first, &second})
        for (const int64_t e : step->micro_batches[m]) tokens += ready.jobs[0]->train_split().tokens(e) + 3;
      longest = std::max(longest, tokens);
    }
  }
  std::vector<at::Tensor> before;
  for (const Parameter& p : ready.bank.method->parameters()) before.push_back(p.value.detach().clone());
  const Probe probe = probe_longest(ready.bank, ready.jobs);
  EXPECT_EQ(probe.longest_tokens, longest);
  EXPECT_GT(probe.evaluation_seconds, 0.0);
  for (std::size_t i = 0; i < before.size(); ++i)
    EXPECT_TRUE(at::equal(ready.bank.method->parameters()[i].value, before[i]));
}

TEST(ProbeLongest, AFeatureCacheMayHoldOneBatchForAll) {
  const TinyTask task("forecast_features");
  ReadyBank ready({task.run("a", {{"type", "linear_probe"}}, {{"max_steps", 30}})});
  EXPECT_EQ(cache_features(ready.bank, ready.jobs, 1), 1.0) << "50 and 30 short rows are a batch each";
  EXPECT_GT(probe_longest(ready.bank, ready.jobs).longest_tokens, 0);
}

TEST(Job, TheWorkOfARunIsThatOfItsSteps) {
  const TinyTask task("forecast_work");
  ReadyBank ready({task.run("a", {{"type", "lora"}, {"r", 2}}, {{"max_steps", 14}, {"batch_size", 8}})});
  const Job& job = *ready.jobs.front();
  int64_t work = 0;
  for (int64_t s = 0; s < 14; ++s) work += job.work(ready.bank, job.progress().at(s));
  EXPECT_DOUBLE_EQ(job.total_work(ready.bank), static_cast<double>(work));  // two whole epochs
}

}  // namespace
}  // namespace peft
