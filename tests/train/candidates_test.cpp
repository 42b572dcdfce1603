// ReCoRD through the whole trainer: a step shows some of an example's sequences, an evaluation all of them.
#include <gmock/gmock.h>

#include "peft/train/batch.h"
#include "peft/train/features.h"
#include "tests/support/last_adapters.h"
#include "tests/support/tiny_task.h"

namespace peft {
namespace {

/// The right one of 12 to 15 entities is w0 or w1, as the first word of the passage says.
struct EntityTask : TinyTask {
  explicit EntityTask(const std::string& name, double dropout = 0.0) : TinyTask("candidates_" + name, dropout) {
    for (const auto& [split, examples] : {std::pair{"train", 40}, {"dev", 20}}) {
      std::string text;
      for (int64_t e = 0; e < examples; ++e)
        text += example(RngStream(5, split, static_cast<uint64_t>(e)), e).dump() + "\n";
      write_atomic(folder / "ReCoRD" / (std::string(split) + ".jsonl"), text);
    }
  }
  static Json example(const RngStream& stream, int64_t e) {
    const std::string right = stream.below(0, 2) == 0 ? "w0" : "w1";
    Json entities = Json::array({right});
    for (uint64_t n = 2; n < 13 + stream.below(1, 4); ++n) entities.push_back("w" + std::to_string(n));
    return {{"passage", right + " w3"},
            {"query", "@placeholder w2"},
            {"entities", entities},
            {"answers", {right}},
            {"idx", {{"passage", e / 2}, {"query", e}}}};
  }
  RunConfig run(const std::string& output, const Json& train = Json::object(),
                const Json& method = {{"type", "lora"}, {"r", 2}, {"lora_alpha", 4}}) const {
    Json json = config(output, method, train);
    json["task"] = {{"name", "record"}, {"data", folder.string()}, {"max_length", 16}};
    return RunConfig::from_json(json, "test.json");
  }
};

TEST(CandidatesTask, IsLearnedAndWritesTexts) {
  const EntityTask task("learn");
  const RunConfig config = task.run("run", {{"max_steps", 120}, {"learning_rate", 0.003}}, {{"type", "full"}});
  EXPECT_GT(train(config, "eval_squad_f1"), 0.9);
  std::istringstream lines(file_text(config.output + "/predictions/dev.jsonl"));
  std::string text;
  std::getline(lines, text);
  const Json line = Json::parse(text);
  EXPECT_EQ(line["idx"], (Json{{"passage", 0}, {"query", 0}}));
  EXPECT_TRUE(line["prediction"].is_string());
  EXPECT_EQ(line["reference"].size(), 1U);
  EXPECT_GE(line["scores"].size(), 24U) << "an evaluation sees all candidates";
}

TEST(CandidatesTask, ABankEqualsSingleRunsAndMicroBatchesOneBatch) {
  const EntityTask task("bank", 0.1);
  std::vector<RunConfig> bank{task.run("bank0", {{"seed", 1}, {"max_steps", 8}}),
                              task.run("bank1", {{"seed", 2}, {"max_steps", 8}})};
  for (const JobResult& result : train_bank(bank, {})) ASSERT_EQ(result.code, ExitCode::done) << result.message;
  for (std::size_t k = 0; k < bank.size(); ++k) {
    const RunConfig single = task.run("single" + std::to_string(k), {{"seed", k + 1}, {"max_steps", 8}});
    train(single, "eval_squad_f1");
    EXPECT_LT(difference_of(bank[k], single), 2e-5) << k;
  }
  const RunConfig whole = task.run("whole", {{"batch_size", 8}, {"max_steps", 8}}),
                  parts = task.run("parts", {{"batch_size", 2}, {"gradient_accumulation_steps", 4}, {"max_steps", 8}});
  for (const RunConfig& config : {whole, parts}) train(config, "eval_squad_f1");
  EXPECT_LT(difference_of(whole, parts), 2e-5);
}

TEST(CandidatesTask, CachedFeaturesGiveTheSameAdapter) {
  const EntityTask task("cached");
  const auto probe = [&](const std::string& output, bool cached) {
    const RunConfig config =
        task.run(output, {{"max_steps", 8}}, {{"type", "linear_probe"}, {"cache_features", cached}});
    train(config, "eval_squad_f1");
    return config;
  };
  EXPECT_LT(difference_of(probe("computed", false), probe("cached", true)), 1e-6);
}

TEST(CandidatesTask, ABatchHoldsTheChosenSequencesAlone) {
  EncodedSplit split;
  split.target_kind = TargetKind::choices;
  for (const std::vector<int32_t>& ids : {std::vector<int32_t>{1, 2, 3}, {4}, {5, 6}, {7}})
    split.add_sequence(ids, std::vector<uint8_t>(ids.size(), 0));
  split.end_example(std::vector<int64_t>{2}, 0);
  const BatchExample chosen{&split, 0, 0, 3, {0, 2}};
  EXPECT_EQ(chosen.tokens(), 5);
  const ModelInput input = make_input({chosen}, 1, at::kCPU);
  const auto* ids = input.source.ids_T.data_ptr<int64_t>();
  EXPECT_EQ(std::vector<int64_t>(ids, ids + input.source.ids_T.numel()), (std::vector<int64_t>{1, 2, 3, 5, 6}));
  EXPECT_EQ(input.source.rows->cu(), (std::vector<int64_t>{0, 3, 5}));
  EXPECT_EQ(input.source.rows->ordinal(1), 4);
}

}  // namespace
}  // namespace peft
