// Losses and their gradients against formulas written out in plain ATen, example by example.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include "peft/data/task.h"
#include "tests/objectives/examples.h"

namespace peft {
namespace {

using Set = std::vector<int64_t>;

at::Tensor random_logits(int64_t rows, int64_t columns, uint64_t seed) {
  auto generator = at::detail::createCPUGenerator(seed);
  at::Tensor logits = at::randn({rows, columns}, generator, at::kDouble) * 3;
  return logits.requires_grad_();
}

at::Tensor gradient(const at::Tensor& losses, const at::Tensor& logits) {
  // Unequal weights: an example must not leak into another's loss.
  const at::Tensor weights = at::arange(1, losses.numel() + 1, losses.options().requires_grad(false));
  return torch::autograd::grad({(losses * weights).sum()}, {logits})[0];
}

void expect_equal(const at::Tensor& logits, const at::Tensor& found, const std::vector<at::Tensor>& expected) {
  ASSERT_EQ(found.sizes(), at::IntArrayRef({static_cast<int64_t>(expected.size())}));
  const at::Tensor formula = at::stack(expected);
  EXPECT_LT((found - formula).abs().max().item<double>(), 1e-12);
  const at::Tensor a = gradient(found, logits), b = gradient(formula, logits);
  EXPECT_TRUE(a.isfinite().all().item<bool>());
  EXPECT_LT((a - b).abs().max().item<double>(), 1e-12);
}

TEST(Losses, ClassificationIsCrossEntropy) {
  for (uint64_t seed = 0; seed < 5; ++seed) {
    const at::Tensor logits = random_logits(4, 3, seed);
    const auto split = split_of(TargetKind::class_id, {{int64_t{2}}, {int64_t{0}}, {int64_t{1}}, {int64_t{2}}});
    std::vector<at::Tensor> expected;
    for (int64_t e = 0; e < 4; ++e)
      expected.push_back(at::logsumexp(logits[e], 0) - logits[e][std::get<int64_t>(split.target(e))]);
    expect_equal(logits, objective("classification").losses(logits, targets_of(split)), expected);
  }
}

TEST(Losses, RegressionIsTheSquaredError) {
  const at::Tensor logits = random_logits(3, 1, 1);
  const std::vector<double> scores{0.5, -2, 4};
  const auto split = split_of(TargetKind::score, {{scores[0]}, {scores[1]}, {scores[2]}});
  std::vector<at::Tensor> expected;
  for (int64_t e = 0; e < 3; ++e) expected.push_back((logits[e][0] - scores[e]) * (logits[e][0] - scores[e]));
  expect_equal(logits, objective("regression").losses(logits, targets_of(split)), expected);
}

TEST(Losses, MultiLabelIsTheMeanBinaryCrossEntropyOfTheClasses) {
  for (uint64_t seed = 0; seed < 5; ++seed) {
    const at::Tensor logits = random_logits(4, 5, seed);
    const std::vector<Set> sets{{0, 3}, {}, {0, 1, 2, 3, 4}, {4}};
    const auto split = split_of(TargetKind::classes, {{sets[0]}, {sets[1]}, {sets[2]}, {sets[3]}});
    std::vector<at::Tensor> expected;
    for (int64_t e = 0; e < 4; ++e) {
      at::Tensor sum = at::zeros({}, at::kDouble);
      for (int64_t n = 0; n < 5; ++n) {
        const bool held = std::count(sets[e].begin(), sets[e].end(), n) > 0;
        sum = sum - at::log(at::sigmoid(held ? logits[e][n] : -logits[e][n]));
      }
      expected.push_back(sum / 5);
    }
    expect_equal(logits, objective("multi_label").losses(logits, targets_of(split)), expected);
  }
}

TEST(Losses, MultiLabelStaysFiniteForLargeLogits) {
  const at::Tensor logits = at::tensor(at::ArrayRef<double>({500.0, -500.0})).view({1, 2});
  const auto split = split_of(TargetKind::classes, {HandExample{Set{1}}});
  EXPECT_NEAR(objective("multi_label").losses(logits, targets_of(split)).item<double>(), 500, 1e-9);
}

TEST(Losses, ChoiceIsCrossEntropyOverAnExamplesOwnSequences) {
  for (uint64_t seed = 0; seed < 5; ++seed) {
    const std::vector<int64_t> sequences{2, 5, 1, 3}, labels{1, 4, 0, 0};
    const at::Tensor logits = random_logits(11, 1, seed);
    const auto split = split_of(TargetKind::choice, {{labels[0], 2}, {labels[1], 5}, {labels[2], 1}, {labels[3], 3}});
    std::vector<at::Tensor> expected;
    for (int64_t e = 0, first = 0; e < 4; first += sequences[e++]) {
      const at::Tensor scores = logits.slice(0, first, first + sequences[e]).flatten();
      expected.push_back(at::logsumexp(scores, 0) - scores[labels[e]]);
    }
    expect_equal(logits, objective("choice").losses(logits, targets_of(split)), expected);
  }
}

TEST(Losses, LanguageModellingSumsOverTheTokensOfAText) {
  for (uint64_t seed = 0; seed < 5; ++seed) {
    const std::vector<std::vector<int32_t>> texts{{3, 1}, {}, {6, 6, 0, 2}};
    const at::Tensor logits = random_logits(6, 7, seed);
    const auto split = split_of(TargetKind::text, {{"a", 1, texts[0]}, {"", 1, texts[1]}, {"b", 1, texts[2]}});
    std::vector<at::Tensor> expected;
    int64_t row = 0;
    for (const auto& text : texts) {
      at::Tensor sum = at::zeros({}, at::kDouble);
      for (const int32_t id : text) {
        sum = sum + at::logsumexp(logits[row], 0) - logits[row][id];
        ++row;
      }
      expected.push_back(sum);
    }
    const Objective& modelling = objective("language_modelling");
    const at::Tensor losses = modelling.losses(logits, targets_of(split));
    expect_equal(logits, losses, expected);
    int64_t tokens = 0;
    for (int64_t e = 0; e < split.size(); ++e) tokens += modelling.normaliser(split, e);
    const at::Tensor ids = at::tensor(at::ArrayRef<int64_t>({3, 1, 6, 6, 0, 2}));
    EXPECT_NEAR(losses.sum().item<double>() / double(tokens), at::cross_entropy_loss(logits, ids).item<double>(), 1e-12)
        << "the mean over all target tokens";
  }
}

TEST(Losses, OtherObjectivesCountExamples) {
  const auto split = split_of(TargetKind::choice, {HandExample{int64_t{0}, 4}});
  for (const char* name : {"classification", "multi_label", "regression", "choice"})
    EXPECT_EQ(objective(name).normaliser(split, 0), 1) << name;
}

TEST(Objectives, OutputsOfTheHead) {
  const TaskInfo three{"t", "", {"a", "b", "c"}, {}}, none{"t", "", {}, {}};
  EXPECT_EQ(objective("classification").outputs(three), 3);
  EXPECT_EQ(objective("multi_label").outputs(three), 3);
  EXPECT_EQ(objective("regression").outputs(none), 1);
  EXPECT_EQ(objective("choice").outputs(none), 1);
  EXPECT_EQ(objective("language_modelling").outputs(none), 0);
}

TEST(Objectives, EveryTaskHasOneThatTakesItsTargets) {
  for (const std::string& name : task_registry().names()) {
    const TaskSpec& spec = task_registry().at(name);
    EXPECT_EQ(objective(spec.objective).target(), spec.target) << name;
    for (const std::string& metric : spec.metrics) EXPECT_TRUE(metric_known(metric)) << name;
  }
}

TEST(LanguageModelling, RefusesTargetsThatDoNotFitTheModel) {
  const Objective& modelling = objective("language_modelling");
  const auto split = split_of(TargetKind::text, {{"a", 1, {3}}, {"b", 1, {3, 9, 1}}});
  EXPECT_NO_THROW(modelling.check_targets(split, 10, 3, false));
  const auto message = [&](int64_t vocabulary, int64_t positions, bool behind_source = false) -> std::string {
    try {
      modelling.check_targets(split, vocabulary, positions, behind_source);
    } catch (const DataError& error) {
      return error.what();
    }
    return {};
  };
  EXPECT_EQ(message(10, 2), "file.jsonl: idx 7: a target that takes 3 positions, the model has 2");
  const int64_t both = split.length(1) + 2;  // all but the last token of the target are read
  EXPECT_EQ(message(10, both, true), "");
  EXPECT_NE(message(10, both - 1, true).find(" positions, the model has "), std::string::npos);
  EXPECT_EQ(message(9, 3),
            "file.jsonl: idx 7: a target with the token 9, expected ids below 9, the output table's size");
}

}  // namespace
}  // namespace peft
