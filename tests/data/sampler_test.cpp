#include "peft/data/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "peft/base/error.h"
#include "peft/base/rng.h"
#include "peft/data/permutation.h"

namespace peft {
namespace {

std::vector<int64_t> some_lengths(int64_t n) {
  std::vector<int64_t> lengths;
  for (int64_t i = 0; i < n; ++i) lengths.push_back(3 + (i * i) % 41);
  return lengths;
}

std::vector<SamplerOptions> some_options() {
  return {{.seed = 1, .batch_size = 8},
          {.seed = 1, .batch_size = 7, .accumulation = 3},
          {.seed = 2, .batch_tokens = 100},
          {.seed = 3, .batch_tokens = 30, .accumulation = 4}};
}

TEST(EpochOrder, SortsByTheWordsOfItsStream) {
  const auto order = epoch_order(1001, 42, 3);
  const RngStream stream(42, "order", 3);
  for (std::size_t i = 1; i < order.size(); ++i) {
    const auto a = std::pair(stream.word(uint64_t(order[i - 1])), order[i - 1]),
               b = std::pair(stream.word(uint64_t(order[i])), order[i]);
    ASSERT_LT(a, b);
  }
  EXPECT_NE(order, epoch_order(1001, 42, 4));
  EXPECT_NE(order, epoch_order(1001, 43, 3));
}

TEST(Sampler, EveryExampleComesOnceAnEpoch) {
  const auto lengths = some_lengths(101);
  for (const auto& options : some_options()) {
    const Sampler sampler(lengths, options);
    int64_t step = 0;
    for (int64_t epoch = 0; epoch < 3; ++epoch) {
      std::vector<int64_t> seen;
      for (int64_t i = 0; i < sampler.steps_in_epoch(epoch); ++i, ++step) {
        const Step now = sampler.at(step);
        EXPECT_EQ(now.epoch, epoch);
        int64_t examples = 0;
        for (const auto& batch : now.micro_batches) {
          EXPECT_FALSE(batch.empty());
          seen.insert(seen.end(), batch.begin(), batch.end());
          examples += static_cast<int64_t>(batch.size());
        }
        EXPECT_EQ(now.examples, examples);
      }
      EXPECT_EQ(seen, epoch_order(101, options.seed, epoch)) << "all rows, in the epoch's order";
    }
  }
}

TEST(Sampler, StepsDoNotDependOnWhatWasAskedBefore) {
  const auto lengths = some_lengths(57);
  for (const auto& options : some_options()) {
    const Sampler walked(lengths, options);
    for (int64_t step = 0; step < 40; ++step) {
      const Step expected = walked.at(step);
      const Step resumed = Sampler(lengths, options).at(step);
      EXPECT_EQ(resumed.micro_batches, expected.micro_batches);
      EXPECT_EQ(resumed.epoch, expected.epoch);
    }
    EXPECT_EQ(walked.at(3).micro_batches, Sampler(lengths, options).at(3).micro_batches) << "going back";
  }
}

TEST(Sampler, TokenBudgetIsKeptAndUsed) {
  auto lengths = some_lengths(200);
  lengths[17] = 500;  // longer than the budget
  const Sampler sampler(lengths, {.seed = 5, .batch_tokens = 90});
  const auto tokens = [&](const std::vector<int64_t>& batch) {
    return std::accumulate(batch.begin(), batch.end(), int64_t{0},
                           [&](int64_t sum, int64_t row) { return sum + lengths[std::size_t(row)]; });
  };
  std::vector<std::vector<int64_t>> batches;
  for (int64_t step = 0; step < sampler.steps_in_epoch(0); ++step)
    batches.push_back(sampler.at(step).micro_batches.at(0));
  for (std::size_t i = 0; i < batches.size(); ++i) {
    EXPECT_TRUE(tokens(batches[i]) <= 90 || batches[i] == std::vector<int64_t>{17});
  }
  for (std::size_t i = 0; i + 1 < batches.size(); ++i)
    EXPECT_GT(tokens(batches[i]) + lengths[std::size_t(batches[i + 1][0])], 90) << "closed only when full";
}

TEST(Sampler, LastBatchAndLastStepOfAnEpochMayBeSmaller) {
  const Sampler sampler(std::vector<int64_t>(23, 1), {.batch_size = 5, .accumulation = 2});  // 5 batches, 3 steps
  EXPECT_EQ(sampler.steps_in_epoch(0), 3);
  EXPECT_EQ(sampler.at(2).micro_batches.size(), 1U);
  EXPECT_EQ(sampler.at(2).examples, 3);
  EXPECT_EQ(sampler.at(3).epoch, 1);
}

TEST(Sampler, StepsInEpochsRoundsUpAsTheTrainerDoes) {
  const Sampler sampler(std::vector<int64_t>(23, 1), {.batch_size = 5, .accumulation = 2});
  EXPECT_EQ(sampler.steps_in_epochs(3), 9);
  EXPECT_EQ(sampler.steps_in_epochs(0.5), 2);
  EXPECT_EQ(sampler.steps_in_epochs(1.5), 5);
  const auto lengths = some_lengths(57);
  const Sampler packed(lengths, {.batch_tokens = 60});
  EXPECT_EQ(packed.steps_in_epochs(2), packed.steps_in_epoch(0) + packed.steps_in_epoch(1));
}

TEST(Sampler, RefusesImpossiblePlans) {
  EXPECT_THROW(Sampler({}, {.batch_size = 1}), ConfigError);
  EXPECT_THROW(Sampler({1}, {}), ConfigError);
  EXPECT_THROW(Sampler({1}, {.batch_size = 1, .batch_tokens = 1}), ConfigError);
  EXPECT_THROW(Sampler({1}, {.batch_size = 1, .accumulation = 0}), ConfigError);
}

TEST(PackTokens, KeepsTheOrder) {
  const std::vector<int64_t> order{2, 0, 1, 3}, lengths{4, 4, 5, 20};
  EXPECT_EQ(pack_tokens(order, lengths, 9), (std::vector<int64_t>{2, 3, 4}));
  EXPECT_EQ(pack_tokens({}, lengths, 9), std::vector<int64_t>{});
}

// docs/tasks.md#limits-and-permutations: measured from torch.randperm.
TEST(Permutation, EqualsTorchRandperm) {
  const std::vector<std::pair<int64_t, std::vector<int64_t>>> table{{277, {207, 84, 253, 243, 190, 28}},
                                                                    {408, {30, 63, 342, 322, 6, 302}},
                                                                    {1043, {911, 408, 813, 657, 710, 526}},
                                                                    {1500, {42, 340, 1028, 766, 1150, 1160}},
                                                                    {56, {22, 8, 36, 39, 34, 28}},
                                                                    {638, {292, 360, 246, 12, 52, 100}},
                                                                    {104, {70, 20, 30, 58, 2, 0}},
                                                                    {3270, {282, 3153, 2578, 2833, 2504, 90}},
                                                                    {4848, {3270, 1987, 3664, 967, 3242, 1717}},
                                                                    {67349, {6677, 49712, 38268, 32909, 23395, 66940}}};
  for (const auto& [n, first] : table) {
    auto order = permutation(n, 42);
    EXPECT_TRUE(std::equal(first.begin(), first.end(), order.begin())) << n;
    std::sort(order.begin(), order.end());
    for (int64_t i = 0; i < n; ++i) ASSERT_EQ(order[std::size_t(i)], i);
  }
  EXPECT_TRUE(permutation(0, 1).empty());
  EXPECT_EQ(permutation(1, 1), std::vector<int64_t>{0});
}

}  // namespace
}  // namespace peft
