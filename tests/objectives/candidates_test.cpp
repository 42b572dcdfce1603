// Right and wrong candidates of an example: the loss written out, the prediction, and which candidates a training step
// shows.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <limits>
#include <set>

#include "tests/objectives/examples.h"

namespace peft {
namespace {

using Set = std::vector<int64_t>;

const Objective& candidates() { return objective("candidates"); }

EncodedSplit three_examples() { return split_of(TargetKind::choices, {{Set{1}, 3}, {Set{}, 2}, {Set{0, 2}, 4}}); }

TEST(Candidates, LossIsTheMeanCrossEntropyOfAnExamplesSequences) {
  auto generator = at::detail::createCPUGenerator(3);
  const at::Tensor logits = (at::randn({9, 2}, generator, at::kDouble) * 3).requires_grad_();
  const at::Tensor found = candidates().losses(logits, targets_of(three_examples()));
  const std::vector<int64_t> right{0, 1, 0, 0, 0, 1, 0, 1, 0}, counts{3, 2, 4};
  std::vector<at::Tensor> expected;
  for (int64_t e = 0, s = 0; e < 3; ++e) {
    at::Tensor sum = at::zeros({}, at::kDouble);
    for (const int64_t end = s + counts[e]; s < end; ++s) sum = sum + at::logsumexp(logits[s], 0) - logits[s][right[s]];
    expected.push_back(sum / counts[e]);
  }
  const at::Tensor formula = at::stack(expected), weights = at::tensor({1.0, 2.0, 3.0}, at::kDouble);
  EXPECT_LT((found - formula).abs().max().item<double>(), 1e-12);
  const auto gradient = [&](const at::Tensor& losses) {
    return torch::autograd::grad({(losses * weights).sum()}, {logits}, {}, true)[0];
  };
  EXPECT_LT((gradient(found) - gradient(formula)).abs().max().item<double>(), 1e-12);
}

TEST(Candidates, PredictionIsTheLargestLeadOfRightOverWrong) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const at::Tensor logits =
      at::tensor({9.F, 9.F, 0.F, 1.F, -5.F, -4.F, 2.F, 0.F, 1.F, nan, 0.F, 1.F, 1.F, 2.F, 0.F, 0.F, 5.F, 0.F});
  const auto split = three_examples();
  const auto predictions = candidates().predict({logits.view({9, 2}), {}}, split);
  EXPECT_EQ(predictions, (std::vector<Target>{int64_t{1}, {}, int64_t{0}}))
      << "the first of equal ones; nothing where one is not finite";
  const TaskInfo task{"t", "candidates", {}, {}};
  const Scored scored = candidates().scored(predictions, split, task);
  EXPECT_DOUBLE_EQ(compute_metric("accuracy", scored).value, 2.0 / 3);
  EXPECT_EQ(candidates().outputs(task), 2);
}

TEST(Candidates, ATrainingStepShowsAllRightOnesAndNineOthers) {
  const auto split = split_of(TargetKind::choices, {{Set{2, 17}, 20}, {Set{2, 17}, 20}, {Set{0}, 5}});
  const Set first = candidates().drawn(split, 0, 42, 0);
  EXPECT_EQ(first.size(), 11U);
  EXPECT_TRUE(std::is_sorted(first.begin(), first.end()));
  for (const int64_t right : {2, 17}) EXPECT_TRUE(std::count(first.begin(), first.end(), right));
  EXPECT_EQ(first, candidates().drawn(split, 0, 42, 0));
  EXPECT_NE(first, candidates().drawn(split, 0, 42, 1)) << "others in another epoch";
  EXPECT_NE(first, candidates().drawn(split, 0, 43, 0)) << "and with another seed";
  EXPECT_NE(first, candidates().drawn(split, 1, 42, 0)) << "and in another example";
  EXPECT_EQ(candidates().drawn(split, 2, 42, 0), (Set{0, 1, 2, 3, 4}));
  std::set<int64_t> seen;
  for (int64_t epoch = 0; epoch < 40; ++epoch)
    for (const int64_t s : candidates().drawn(split, 0, 42, epoch)) seen.insert(s);
  EXPECT_EQ(seen.size(), 20U);
  EXPECT_TRUE(objective("choice").drawn(split, 0, 42, 0).empty()) << "other objectives show all of them";
}

TEST(Candidates, TargetsOfDrawnSequencesAreNumberedAnew) {
  const auto split = split_of(TargetKind::choices, {{Set{2, 4}, 6}, {Set{1}, 3}});
  BatchTargets targets;
  targets.add(split, 0, Set{1, 2, 4, 5});
  targets.add(split, 1);
  EXPECT_EQ(targets.sequence_offsets, (Set{0, 4, 7}));
  EXPECT_EQ(targets.ids, (Set{1, 2, 1}));
}

}  // namespace
}  // namespace peft
