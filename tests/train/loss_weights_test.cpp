// Class weights and label smoothing: torch's cross_entropy_loss is the truth.
#include "src/train/loss_weights.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "peft/base/error.h"
#include "peft/data/sampler.h"
#include "peft/interop/adapter_folder.h"
#include "peft/methods/method.h"
#include "peft/objectives/objective.h"
#include "peft/train/batch.h"
#include "peft/train/trainer.h"
#include "tests/support/tiny_task.h"

namespace peft {
namespace {

using testing::DoubleEq;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

const Json kLora{{"type", "lora"}, {"r", 2}, {"lora_alpha", 4}};

/// Logits of the first step of a run without dropout, with the labels of its examples.
struct FirstStep {
  at::Tensor logits, labels;
  explicit FirstStep(const RunConfig& config) {
    Transformer model = Transformer::load(config.model.path, "float32");
    const auto tokenizer = Tokenizer::load(config.model.path);
    const Dataset data = load_dataset(config.task, config.data, *tokenizer, {"train"});
    const EncodedSplit& split = data.splits.at("train");
    const auto seed = static_cast<uint64_t>(config.train.seed);
    const auto method = make_method(model, {.configs = {&*config.method}, .seeds = {seed}, .outputs = 2});
    const Sampler sampler(std::vector<int64_t>(static_cast<std::size_t>(split.size()), 1),
                          {.seed = seed, .batch_size = *config.train.batch_size});
    std::vector<BatchExample> examples;
    std::vector<int64_t> ids;
    const Step step = sampler.at(0);
    for (const int64_t e : step.micro_batches.front()) {
      examples.push_back({&split, e, 0, static_cast<int64_t>(ids.size())});
      ids.push_back(static_cast<int64_t>(split.labels[e]));
    }
    const DropoutContext context;
    method->begin_pass(context);
    logits = model.classify(make_input(examples, 1, at::kCPU), *method, context).detach();
    labels = at::tensor(at::ArrayRef<int64_t>(ids), at::kLong);
  }
};

double first_loss(const RunConfig& config) {
  const JobResult result = train_bank({config}, {}).front();
  EXPECT_EQ(result.code, ExitCode::done) << result.message;
  return result.metrics.at("train_loss").get<double>();
}

TEST(LossWeights, TheLossOfAStepIsTorchs) {
  const TinyTask task("loss_weights");
  const std::vector<std::pair<Json, double>> cases{{nullptr, 0.0},
                                                   {Json{{"no", 0.3}, {"yes", 2.0}}, 0.0},
                                                   {nullptr, 0.2},
                                                   {Json::object({{"yes", 0.25}}), 0.1},
                                                   {Json::object({{"no", 0}}), 0.0}};
  int number = 0;
  for (const auto& [weights, smoothing] : cases) {
    const RunConfig config =
        task.run("run" + std::to_string(++number), kLora,
                 {{"max_steps", 1}, {"class_weights", weights}, {"label_smoothing_factor", smoothing}});
    const FirstStep step(config);
    const double no = weights.is_object() ? weights.value("no", 1.0) : 1.0,
                 yes = weights.is_object() ? weights.value("yes", 1.0) : 1.0;
    const double expected = at::cross_entropy_loss(step.logits, step.labels, at::tensor({no, yes}, at::kFloat),
                                                   at::Reduction::Mean, -100, smoothing)
                                .item<double>();
    EXPECT_NEAR(first_loss(config), expected, 1e-6) << weights << " " << smoothing;
  }
}

TEST(LossWeights, OneLightExampleStillMakesAWholeStep) {
  const TinyTask task("loss_weights_light");
  const auto loss = [&](const char* output, const Json& weights) {
    return first_loss(task.run(output, kLora, {{"max_steps", 1}, {"batch_size", 1}, {"class_weights", weights}}));
  };
  EXPECT_NEAR(loss("light", {{"no", 0.01}, {"yes", 0.01}}), loss("plain", nullptr), 1e-6);
}

TEST(LossWeights, MicroBatchesOfAStepEqualOneBatchAndABankItsRuns) {
  const TinyTask task("loss_weights_parts");
  const Json weights{{"no", 0.2}, {"yes", 3.0}};
  const auto last = [](const RunConfig& config) {
    return read_adapter(config.output + "/last").tensors.begin()->second.to(at::kDouble);
  };
  const RunConfig whole = task.run("whole", kLora, {{"class_weights", weights}}),
                  parts = task.run("parts", kLora,
                                   {{"class_weights", weights}, {"batch_size", 2}, {"gradient_accumulation_steps", 4}}),
                  plain = task.run("plain", kLora), beside = task.run("beside", kLora, {{"class_weights", weights}}),
                  plain_beside = task.run("plain_beside", kLora);
  for (const RunConfig& config : {whole, parts, plain}) first_loss(config);
  for (const JobResult& result : train_bank({beside, plain_beside}, {})) ASSERT_EQ(result.code, ExitCode::done);
  EXPECT_LT((last(whole) - last(parts)).norm().item<double>(), 2e-5 * last(whole).norm().item<double>());
  EXPECT_LT((last(whole) - last(beside)).norm().item<double>(), 2e-5 * last(whole).norm().item<double>());
  EXPECT_LT((last(plain) - last(plain_beside)).norm().item<double>(), 2e-5 * last(plain).norm().item<double>());
  EXPECT_GT((last(plain) - last(whole)).norm().item<double>(), 1e-3 * last(plain).norm().item<double>());
}

struct Data {
  EncodedSplit train;
  TaskInfo task{.name = "classification", .objective = "classification", .labels = {"a", "b", "c"}, .metrics = {}};
  Data() { train.statistics.label_counts = {6, 3, 1}; }
  LossWeights of(const Json& class_weights, double smoothing = 0.0) const {
    TrainConfig config;
    config.class_weights = class_weights;
    config.label_smoothing_factor = smoothing;
    return loss_weights(config, train, task);
  }
};

TEST(LossWeights, BalancedClassesCountTheSame) {
  const Data data;
  EXPECT_THAT(data.of("balanced").classes, ElementsAre(DoubleEq(10.0 / 18), DoubleEq(10.0 / 9), DoubleEq(10.0 / 3)));
  EXPECT_THAT(data.of(Json::object({{"b", 2}})).classes, ElementsAre(1, 2, 1));
  EXPECT_TRUE(data.of(nullptr).plain());
  EXPECT_TRUE(data.of(Json::object({{"a", 1}})).plain());
  EXPECT_FALSE(data.of(nullptr, 0.1).plain());
}

TEST(LossWeights, WhatCannotBeWeighedIsRefused) {
  Data data;
  EXPECT_THAT(
      [&] {
        data.of(Json::object({{"B", 2}}));
      },
      ThrowsMessage<ConfigError>("train.class_weights: no class is called \"B\"; the classes are a, b, c; did "
                                 "you mean \"b\"?"));
  data.train.statistics.label_counts[2] = 0;
  EXPECT_THAT([&] { data.of("balanced"); }, ThrowsMessage<ConfigError>(HasSubstr("train has none of c")));
  data.train.target_kind = TargetKind::score;
  EXPECT_THAT([&] { data.of("balanced"); },
              ThrowsMessage<ConfigError>(HasSubstr("train.class_weights: classification")));
  EXPECT_THAT([&] { data.of(nullptr, 0.1); }, ThrowsMessage<ConfigError>(HasSubstr("train.label_smoothing_factor")));
  const TinyTask task("loss_weights_bad");
  for (const auto& [weights, message] : std::map<std::string, std::string>{
           {R"("equal")", "train.class_weights: found \"equal\", expected \"balanced\" or label -> weight"},
           {R"({"no": -1})", "train.class_weights.no: found -1, expected a number >= 0"},
           {R"({"no": "x"})", "train.class_weights.no: found \"x\", expected a number >= 0"}})
    EXPECT_THAT(
        [&] {
          task.run("bad", kLora, {{"class_weights", Json::parse(weights)}});
        },
        ThrowsMessage<ConfigError>("test.json: " + message));
}

}  // namespace
}  // namespace peft
