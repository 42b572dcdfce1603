// Predictions from logits, what metrics and files get of them, and the check for collapsed predictions.
#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "tests/objectives/examples.h"

namespace peft {
namespace {

using Set = std::vector<int64_t>;
constexpr float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();

TaskInfo task(const std::string& name, std::vector<std::string> labels = {}) { return {"t", name, labels, {}}; }

std::vector<Target> predict(const std::string& name, const at::Tensor& logits, const EncodedSplit& split) {
  return objective(name).predict({logits, {}}, split);
}

TEST(Predictions, ClassificationTakesTheLargestLogitAndTheLowerOfEqualOnes) {
  const auto split =
      split_of(TargetKind::class_id, {{int64_t{0}}, {int64_t{1}}, {int64_t{2}}, {int64_t{2}}, {int64_t{0}}});
  const at::Tensor logits = at::tensor({1.F, 3.F, 2.F, 5.F, 5.F, 5.F, nan, 0.F, 9.F, 0.F, 0.F, 1.F, 1.F, inf, 0.F});
  const auto predictions = predict("classification", logits.view({5, 3}), split);
  EXPECT_EQ(predictions, (std::vector<Target>{int64_t{1}, int64_t{0}, {}, int64_t{2}, {}}));
  const Scored scored = objective("classification").scored(predictions, split, task("", {"a", "b", "c"}));
  EXPECT_EQ(scored.predictions, (std::vector<double>{1, 0, -1, 2, -1}));
  EXPECT_EQ(scored.references, (std::vector<double>{0, 1, 2, 2, 0}));
  EXPECT_EQ(scored.num_classes, 3);
}

TEST(Predictions, RegressionTakesTheOutput) {
  const auto split = split_of(TargetKind::score, {{0.5}, {1.0}});
  const auto predictions = predict("regression", at::tensor({0.25F, nan}).view({2, 1}), split);
  EXPECT_EQ(predictions, (std::vector<Target>{0.25, {}}));
  const Scored scored = objective("regression").scored(predictions, split, task(""));
  EXPECT_EQ(scored.predictions[0], 0.25);
  EXPECT_TRUE(std::isnan(scored.predictions[1]));
  EXPECT_EQ(scored.references, (std::vector<double>{0.5, 1.0}));
  EXPECT_EQ(scored.num_classes, 0);
}

TEST(Predictions, MultiLabelTakesTheClassesAboveZero) {
  const auto split = split_of(TargetKind::classes, {{Set{0, 2}}, {Set{}}, {Set{1}}});
  const at::Tensor logits = at::tensor({0.1F, 0.F, 3.F, -1.F, -2.F, -.1F, 1.F, inf, 1.F}).view({3, 3});
  const auto predictions = predict("multi_label", logits, split);
  EXPECT_EQ(predictions, (std::vector<Target>{Set{0, 2}, Set{}, {}}));
  const Scored scored = objective("multi_label").scored(predictions, split, task("", {"a", "b", "c"}));
  EXPECT_EQ(scored.predicted_sets, (std::vector<Set>{{0, 2}, {}, {-1}}));
  EXPECT_EQ(scored.reference_sets, (std::vector<Set>{{0, 2}, {}, {1}}));
  EXPECT_DOUBLE_EQ(compute_metric("subset_accuracy", scored).value, 2.0 / 3);
  EXPECT_DOUBLE_EQ(compute_metric("micro_f1", scored).value, 4.0 / 5);
  EXPECT_DOUBLE_EQ(compute_metric("macro_f1", scored).value, 2.0 / 3);
}

TEST(Predictions, ChoiceTakesTheLargestOfAnExamplesOwnScores) {
  const auto split = split_of(TargetKind::choice, {{int64_t{1}, 2}, {int64_t{2}, 3}, {int64_t{0}, 1}, {int64_t{0}, 2}});
  const at::Tensor logits = at::tensor({-5.F, -4.F, 0.F, 7.F, 7.F, -100.F, nan, 1.F}).view({8, 1});
  const auto predictions = predict("choice", logits, split);
  EXPECT_EQ(predictions, (std::vector<Target>{int64_t{1}, int64_t{1}, int64_t{0}, {}}));
  const Scored scored = objective("choice").scored(predictions, split, task(""));
  EXPECT_DOUBLE_EQ(compute_metric("accuracy", scored).value, 0.5);
}

TEST(Predictions, LanguageModellingGivesPerplexity) {
  const auto split = split_of(TargetKind::text, {{"a", 1, {1, 2}}, {"b", 1, {3}}});
  const Objective& modelling = objective("language_modelling");
  const auto predictions = modelling.predict({{}, at::tensor({3.0, 1.5}, at::kDouble)}, split);
  const Scored scored = modelling.scored(predictions, split, task(""));
  EXPECT_DOUBLE_EQ(compute_metric("perplexity", scored).value, std::exp(1.5));
  EXPECT_TRUE(lower_is_better("perplexity"));
  EXPECT_FALSE(lower_is_better("accuracy"));
  const auto bad = modelling.predict({{}, at::tensor({3.0, double{nan}}, at::kDouble)}, split);
  EXPECT_TRUE(is_hidden(bad[1]));
  EXPECT_FALSE(compute_metric("perplexity", modelling.scored(bad, split, task(""))).undefined.empty());
}

TEST(Predictions, CollapseMeansOneAnswerToSeveralQuestions) {
  const std::vector<Target> ones{int64_t{1}, int64_t{1}}, both{int64_t{1}, int64_t{0}}, invalid{{}, {}};
  const auto mixed = [](TargetKind kind) { return split_of(kind, {{int64_t{0}, 2}, {int64_t{1}, 2}}); };
  for (const auto& [name, kind] : {std::pair{"classification", TargetKind::class_id}, {"choice", TargetKind::choice}}) {
    EXPECT_TRUE(objective(name).collapsed(ones, mixed(kind)));
    EXPECT_FALSE(objective(name).collapsed(both, mixed(kind)));
    EXPECT_FALSE(objective(name).collapsed(invalid, mixed(kind)));
    EXPECT_FALSE(objective(name).collapsed(ones, split_of(kind, {{int64_t{1}, 2}, {int64_t{1}, 2}})));
    EXPECT_FALSE(objective(name).collapsed(ones, split_of(kind, {{{}, 2}, {{}, 2}}, /*hidden=*/true)));
    EXPECT_FALSE(objective(name).collapsed({int64_t{1}}, split_of(kind, {HandExample{int64_t{1}, 2}})));
  }
  const auto sets = split_of(TargetKind::classes, {{Set{0}}, {Set{0, 1}}});
  EXPECT_TRUE(objective("multi_label").collapsed({Set{}, Set{}}, sets));
  EXPECT_FALSE(objective("multi_label").collapsed({Set{}, Set{1}}, sets));
  EXPECT_FALSE(objective("regression").collapsed({1.0, 1.0}, split_of(TargetKind::score, {{1.0}, {2.0}})));
}

TEST(Predictions, FilesHoldNamesNumbersOrLists) {
  const TaskInfo named = task("", {"no", "yes"}), unnamed = task("");
  EXPECT_EQ(target_json(int64_t{1}, named), "yes");
  EXPECT_EQ(target_json(int64_t{1}, unnamed), 1);
  EXPECT_EQ(target_json(Set{0, 1}, named), (Json{"no", "yes"}));
  EXPECT_EQ(target_json(Set{}, named), Json::array());
  EXPECT_EQ(target_json(0.5, unnamed), 0.5);
  EXPECT_TRUE(target_json(double{nan}, unnamed).is_null());
  EXPECT_TRUE(target_json({}, named).is_null());
  EXPECT_EQ(target_json("words", unnamed), "words");
}

}  // namespace
}  // namespace peft
