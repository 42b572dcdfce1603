/// Whole training runs by our own kernels beside the same runs without. The kernels run on the emulator; on a GPU scripts/gpu_check compares
/// the two.

#include <gmock/gmock.h>

#include <csignal>

#include "peft/train/trainer.h"
#include "tests/support/bank_runs.h"

namespace peft {
namespace {

/// Three jobs that differ in all that the optimiser's kernel keeps for each; the second ends early.
std::vector<RunConfig> bank_of(const TinyTask& task, const std::string& name, const Json& method, bool custom) {
  const std::vector<Json> train{
      {{"seed", 1}, {"max_steps", 8}, {"learning_rates", {{"head", 0.003}}}},
      {{"seed", 2}, {"weight_decay", 0.1}, {"adam_beta2", 0.99}, {"max_steps", 5}},
      {{"seed", 3}, {"max_steps", 8}, {"lr_scheduler_type", "cosine"}, {"warmup_steps", 3}, {"max_grad_norm", 0.1}}};
  std::vector<RunConfig> bank;
  for (std::size_t k = 0; k < train.size(); ++k) {
    Json json = task.config(name + std::to_string(k), method, train[k]);
    json["model"]["use_kernels"] = custom;
    bank.push_back(RunConfig::from_json(json, "test.json"));
  }
  return bank;
}

void expect_trained(const std::vector<RunConfig>& bank, const TrainOptions& options = {}) {
  for (const JobResult& result : train_bank(bank, options)) EXPECT_EQ(result.code, ExitCode::done) << result.message;
}

std::vector<Json> log_of(const RunConfig& config) {
  std::vector<Json> lines;
  std::istringstream text(file_text(config.output + "/log.jsonl"));
  for (std::string line; std::getline(text, line);) lines.push_back(parse_json(line, "log.jsonl"));
  return lines;
}

class CustomTraining : public testing::TestWithParam<Json> {};

TEST_P(CustomTraining, EqualsStockOperators) {
  const TinyTask task("custom_" + label_of(GetParam()), 0.1);
  const auto custom = bank_of(task, "custom", GetParam(), true), stock = bank_of(task, "stock", GetParam(), false);
  expect_trained(custom);
  expect_trained(stock);
  for (std::size_t k = 0; k < custom.size(); ++k) {
    const auto ours = log_of(custom[k]), theirs = log_of(stock[k]);
    ASSERT_EQ(ours.size(), theirs.size());
    for (std::size_t i = 0; i < ours.size(); ++i) {
      for (const char* key : {"loss", "grad_norm", "learning_rate", "eval_loss"}) {
        ASSERT_EQ(ours[i].contains(key), theirs[i].contains(key));
        if (!ours[i].contains(key)) continue;
        const double expected = theirs[i][key].get<double>();
        EXPECT_NEAR(ours[i][key].get<double>(), expected, 1e-4 * std::max(0.1, std::abs(expected))) << k << ", " << key;
      }
    }
    EXPECT_LT(difference(custom[k].output + "/last", stock[k].output + "/last"), 1e-4) << "adapter " << k;
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, CustomTraining, testing::ValuesIn(bank_methods()),
                         [](const auto& instance) { return label_of(instance.param); });

/// In bfloat16, attention too, with dropout on its probabilities: the masks are the same, the rounding is not.
TEST(CustomTraining, AttentionEqualsStockOperators) {
  const std::vector<Json> methods{{{"type", "lora"}, {"r", 2}},
                                  {{"type", "prefix"}, {"num_virtual_tokens", 3}},
                                  {{"type", "prompt"}, {"num_virtual_tokens", 3}}};
  const TinyTask task("custom_attention", 0.3, 64);
  for (const Json& method : methods) {
    std::vector<std::vector<Json>> logs;
    for (const auto& [attention, dtype] :
         {std::pair{"packed", "bfloat16"}, {"auto", "bfloat16"}, {"auto", "float32"}}) {
      Json json = task.config(label_of(method) + attention + dtype, method, {{"max_steps", 6}, {"eval_steps", 3}});
      const bool custom = std::string(attention) == "packed";
      json["model"].update({{"dtype", dtype}, {"use_kernels", custom}, {"attn_implementation", attention}});
      const RunConfig config = RunConfig::from_json(json, "test.json");
      expect_trained({config});
      logs.push_back(log_of(config));
    }
    double ours = 0.0, stock = 0.0;
    for (std::size_t i = 0; i < logs[2].size(); ++i) {
      for (const char* key : {"loss", "eval_loss"}) {
        if (!logs[2][i].contains(key)) continue;
        const double expected = logs[2][i][key].get<double>();
        ours = std::max(ours, std::abs(logs[0][i][key].get<double>() - expected));
        stock = std::max(stock, std::abs(logs[1][i][key].get<double>() - expected));
      }
    }
    EXPECT_LT(ours, 0.02) << label_of(method) << ", stock " << stock;
    RecordProperty(label_of(method), std::to_string(ours) + " beside " + std::to_string(stock));
  }
}

TEST(CustomTraining, FullFineTuningEqualsStockOperators) {
  const TinyTask task("custom_full", 0.1);
  const auto custom = bank_of(task, "custom", {{"type", "full"}}, true).front(),
             stock = bank_of(task, "stock", {{"type", "full"}}, false).front();
  expect_trained({custom});
  expect_trained({stock});
  const auto ours = log_of(custom), theirs = log_of(stock);
  ASSERT_EQ(ours.size(), theirs.size());
  for (std::size_t i = 0; i < ours.size(); ++i) {
    if (!theirs[i].contains("loss")) continue;
    EXPECT_NEAR(ours[i]["loss"].get<double>(), theirs[i]["loss"].get<double>(), 1e-4);
  }
}

/// Stopped by a signal at some step and resumed: equal bytes, moments and counters of the kernel included.
TEST(CustomTraining, GoesOnWhereItWasStopped) {
  const TinyTask task("custom_resumed", 0.1);
  const Json lora{{"type", "lora"}, {"r", 2}};
  const auto whole = bank_of(task, "whole", lora, true), parts = bank_of(task, "parts", lora, true);
  expect_trained(whole);
  int calls = 0;
  const auto interrupting = [&](double, const std::string&) {
    if (++calls == 4) std::raise(SIGTERM);
  };
  for (const JobResult& result : train_bank(parts, {.progress = interrupting}))
    EXPECT_EQ(result.code, ExitCode::interrupted) << result.message;
  expect_trained(parts, {.resume = true});
  for (std::size_t k = 0; k < whole.size(); ++k) {
    for (const char* file : {"/last/adapter_model.safetensors", "/log.jsonl", "/checkpoint/state.safetensors"})
      EXPECT_EQ(file_text(parts[k].output + file), file_text(whole[k].output + file)) << k << file;
  }
}

}  // namespace
}  // namespace peft
