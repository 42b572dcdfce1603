// Choice and multi-label tasks through the whole trainer: banks, micro-batches, token budgets, cached features, groups
// of sequences.
#include <gmock/gmock.h>

#include <numeric>
#include <sstream>

#include "peft/data/sampler.h"
#include "peft/methods/method.h"
#include "peft/objectives/objective.h"
#include "peft/train/batch.h"
#include "tests/support/last_adapters.h"
#include "tests/support/tiny_task.h"

namespace peft {
namespace {

using testing::HasSubstr;

/// The words and model of TinyTask with other files: which of two to four choices holds w0, which of w0, w1, w2 a text holds, which of its words
/// is w0, where w0 stands in a text of one to three windows.
struct OtherTask : TinyTask {
  OtherTask(const std::string& name, std::string task_name, double dropout = 0.0)
      : TinyTask("objectives_" + name, dropout), task(std::move(task_name)) {
    for (const auto& [split, examples] : {std::pair{"train", 40}, {"dev", 20}}) {
      std::string text;
      for (int64_t e = 0; e < examples; ++e) text += example(RngStream(11, split, static_cast<uint64_t>(e))) + "\n";
      write_atomic(folder / "other" / (std::string(split) + ".jsonl"), text);
    }
  }

  std::string words(const RngStream& stream, uint64_t at) const {
    std::string text;
    for (uint64_t i = 0, n = 1 + stream.below(at, 6); i < n; ++i)
      text += (i > 0 ? " w" : "w") + std::to_string(3 + stream.below(at + 1 + i, 15));
    return text;
  }
  std::string example(const RngStream& stream) const {
    Json json{{"text", words(stream, 0)}};
    if (task == "multi_label") {
      json["label"] = Json::array();
      for (uint64_t n = 0; n < 3; ++n) {
        if (stream.below(20 + n, 2) == 0) continue;
        json["label"].push_back("class" + std::to_string(n));
        json["text"] = json["text"].get<std::string>() + " w" + std::to_string(n);
      }
      return json.dump();
    }
    if (task == "token_classification") {
      std::istringstream all(json["text"].get<std::string>() + " w0 " + words(stream, 40));
      json = {};
      for (std::string word; all >> word;) {
        json["tokens"].push_back(word);
        json["tags"].push_back(word == "w0" ? "B-X" : "O");
      }
      return json.dump();
    }
    if (task == "span") {
      const std::string before = words(stream, 50) + " " + words(stream, 60) + " ";
      return Json{{"question", words(stream, 40)},
                  {"context", before + "w0 " + words(stream, 70) + " " + words(stream, 80)},
                  {"answers", {{"text", {"w0"}}, {"answer_start", {before.size()}}}}}
          .dump();
    }
    const uint64_t choices = 2 + stream.below(20, 3), right = stream.below(21, choices);
    for (uint64_t c = 0; c < choices; ++c)
      json["choices"].push_back(words(stream, 30 + 10 * c) + (c == right ? " w0" : " w1"));
    json["label"] = right;
    return json.dump();
  }

  RunConfig run(const std::string& output, const Json& train = Json::object(),
                const Json& method = {{"type", "lora"}, {"r", 2}, {"lora_alpha", 4}}) const {
    Json json = config(output, method, train);
    json["task"] = {{"name", task}, {"data", (folder / "other").string()}, {"max_length", 16}};
    if (json["train"].contains("batch_tokens")) json["train"].erase("batch_size");
    return RunConfig::from_json(json, "test.json");
  }

  std::string task;
};

const std::vector<std::pair<std::string, std::string>> kTasks{{"multiple_choice", "eval_accuracy"},
                                                              {"multi_label", "eval_micro_f1"},
                                                              {"token_classification", "eval_entity_f1"},
                                                              {"span", "eval_squad_em"}};

TEST(OtherObjectives, LearnWhatCanBeLearned) {
  for (const auto& [name, metric] : kTasks) {
    const OtherTask task("learn_" + name, name);
    EXPECT_GT(train(task.run("run", {{"max_steps", 300}, {"learning_rate", 0.005}}, {{"type", "full"}}), metric), 0.9)
        << name;
  }
}

TEST(OtherObjectives, ABankEqualsSingleRuns) {
  for (const auto& [name, metric] : kTasks) {
    const OtherTask task("bank_" + name, name, 0.1);
    const std::vector<Json> jobs{{{"seed", 1}}, {{"seed", 2}, {"learning_rate", 0.003}, {"max_steps", 7}}};
    std::vector<RunConfig> bank;
    for (std::size_t k = 0; k < jobs.size(); ++k) bank.push_back(task.run("bank" + std::to_string(k), jobs[k]));
    for (const JobResult& result : train_bank(bank, {})) ASSERT_EQ(result.code, ExitCode::done) << result.message;
    for (std::size_t k = 0; k < jobs.size(); ++k) {
      const RunConfig single = task.run("single" + std::to_string(k), jobs[k]);
      train(single, metric);
      EXPECT_LT(difference_of(bank[k], single), 2e-5) << name << " " << k;
    }
  }
}

TEST(OtherObjectives, MicroBatchesOfAStepEqualOneBatch) {
  for (const auto& [name, metric] : kTasks) {
    const OtherTask task("micro_" + name, name, 0.1);
    const RunConfig whole = task.run("whole", {{"batch_size", 8}}),
                    parts = task.run("parts", {{"batch_size", 2}, {"gradient_accumulation_steps", 4}});
    for (const RunConfig& config : {whole, parts}) train(config, metric);
    // The same masks too: a sequence is named by its number in the step.
    EXPECT_LT(difference_of(whole, parts), 2e-5) << name;
  }
}

/// The loss of a first step under dropout, formed here by hand: every sequence of the step has its own number and so its own masks.
TEST(OtherObjectives, SequencesOfAStepAreNumberedThrough) {
  const OtherTask task("numbered", "multiple_choice", 0.3);
  const RunConfig config = task.run("run", {{"max_steps", 1}, {"seed", 5}, {"batch_size", 6}});
  Transformer model = Transformer::load(config.model.path, "float32");
  const auto tokenizer = Tokenizer::load(config.model.path);
  const Dataset data = load_dataset(config.task, config.data, *tokenizer, {"train"});
  const EncodedSplit& split = data.splits.at("train");
  const auto method = make_method(model, {.configs = {&*config.method}, .seeds = {5}, .outputs = 1});
  const Sampler sampler(std::vector<int64_t>(40, 1), {.seed = 5, .batch_size = 6});
  std::vector<BatchExample> examples;
  BatchTargets targets;
  int64_t sequences = 0;
  const Step step = sampler.at(0);
  for (const int64_t e : step.micro_batches.front()) {
    examples.push_back({&split, e, 0, sequences});
    sequences += split.sequences(e);
    targets.add(split, e);
  }
  const DropoutContext dropout{.training = true, .seeds = {5}, .steps = {0}};
  method->begin_pass(dropout);
  const at::Tensor logits = model.classify(make_input(examples, 1, at::kCPU), *method, dropout);
  const double expected = objectives().at("choice")->losses(logits, targets).mean().item<double>();
  EXPECT_NEAR(train(config, "train_loss"), expected, 1e-6);
}

TEST(OtherObjectives, TokenBudgetsCountAllSequences) {
  const OtherTask task("tokens", "multiple_choice");
  const RunConfig config = task.run("run", {{"batch_tokens", 60}, {"max_steps", 4}});
  const auto tokenizer = Tokenizer::load(config.model.path);
  const Dataset data = load_dataset(config.task, config.data, *tokenizer, {"train"});
  const EncodedSplit& split = data.splits.at("train");
  std::vector<int64_t> lengths;
  for (int64_t e = 0; e < split.size(); ++e) lengths.push_back(split.length(e));
  EXPECT_EQ(std::accumulate(lengths.begin(), lengths.end(), int64_t{0}), split.offsets.back());
  EXPECT_GT(split.sequences(), 2 * split.size());
  EXPECT_EQ(train_bank({config}, {}).front().code, ExitCode::done);
}

TEST(OtherObjectives, CachedFeaturesGiveTheSameAdapter) {
  const OtherTask task("cached", "multiple_choice");
  const auto probe = [&](const std::string& output, bool cached) {
    const RunConfig config =
        task.run(output, {{"eval_steps", 5}}, {{"type", "linear_probe"}, {"cache_features", cached}});
    train(config, "eval_accuracy");
    return config;
  };
  EXPECT_LT(difference_of(probe("computed", false), probe("cached", true)), 1e-6);
}

TEST(OtherObjectives, RunsOfOneBankHaveOneObjective) {
  const OtherTask choice("mixed_choice", "multiple_choice");
  const RunConfig a = choice.run("a");
  RunConfig b = a;
  b.output += "-other";
  b.task.name = "regression";
  EXPECT_THAT([&] { train_bank({a, b}, {}); }, testing::ThrowsMessage<ConfigError>(HasSubstr("task.name")));
}

/// Sequences of an example follow one another, numbered on through the step; other examples go on from there.
TEST(MakeInput, PacksTheSequencesOfAnExample) {
  EncodedSplit split;
  split.target_kind = TargetKind::choice;
  const std::vector<std::vector<int32_t>> ids{{1, 2, 3}, {4}, {5, 6}};
  for (const auto& sequence : ids) split.add_sequence(sequence, std::vector<uint8_t>(sequence.size(), 1));
  split.end_example(int64_t{0}, 0);
  split.add_sequence(ids[1], std::vector<uint8_t>{0});
  split.end_example(int64_t{0}, 1);
  const ModelInput input = make_input({{&split, 1, 0, 0}, {&split, 0, 1, 5}}, 2, at::kCPU);
  const std::vector<int64_t> expected{4, 1, 2, 3, 4, 5, 6};
  EXPECT_EQ(std::vector<int64_t>(input.source.ids_T.data_ptr<int64_t>(), input.source.ids_T.data_ptr<int64_t>() + 7),
            expected);
  EXPECT_EQ(input.source.rows->cu(), (std::vector<int64_t>{0, 1, 4, 5, 7}));
  std::vector<int64_t> ordinals;
  for (int64_t b = 0; b < 4; ++b) ordinals.push_back(input.source.rows->ordinal(b));
  EXPECT_EQ(ordinals, (std::vector<int64_t>{0, 5, 6, 7}));
  EXPECT_EQ(input.source.rows->group_sequences(), (std::vector<int64_t>{0, 1, 4}));
}

}  // namespace
}  // namespace peft
