#include "peft/train/find_rate.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "tests/support/tiny_task.h"

namespace peft {
namespace {

using testing::HasSubstr;
using testing::Not;

RateResult result(double rate, double loss, double score) {
  return {.rate = rate, .first = 2.0, .loss = loss, .score = score};
}
RateResult stopped(double rate) { return {.rate = rate, .first = 2.0, .failure = "the loss diverged"}; }

std::optional<double> chosen(const std::vector<RateResult>& results, bool lower_is_better = false,
                             int64_t examples = 100) {
  const RateChoice choice = choose_rate(results, lower_is_better, examples);
  return choice.best ? std::optional(results[*choice.best].rate) : std::nullopt;
}

TEST(ChooseRate, TakesTheBestScore) {
  EXPECT_EQ(chosen({result(1e-4, 1.9, 0.3), result(1e-3, 1.0, 0.8), result(1e-2, 0.9, 0.5)}), 1e-3);
  EXPECT_EQ(chosen({result(1e-4, 1.9, 9.0), result(1e-3, 1.0, 2.0), result(1e-2, 0.9, 4.0)}, true), 1e-3);
}

TEST(ChooseRate, OfScoresWithinOneStandardErrorTheLowestLossWins) {
  // 0.8 of 100: 0.04
  EXPECT_EQ(chosen({result(1e-4, 1.9, 0.8), result(1e-3, 1.0, 0.77), result(1e-2, 0.9, 0.75)}), 1e-3);
  EXPECT_EQ(chosen({result(1e-4, 1.9, 0.8), result(1e-3, 1.0, 0.77), result(1e-2, 0.9, 0.75)}, false, 10000), 1e-4);
}

TEST(ChooseRate, OfEqualResultsTheLowestRateWins) {
  EXPECT_EQ(chosen({result(1e-4, 1.0, 0.8), result(1e-3, 1.0, 0.8), result(1e-2, 1.0, 0.8)}), 1e-4);
}

TEST(ChooseRate, DoesNotStandNextToDivergence) {
  const std::vector<RateResult> better{result(1e-4, 1.0, 0.5), result(1e-3, 0.5, 0.9), stopped(1e-2)};
  EXPECT_EQ(chosen(better), 1e-4);
  EXPECT_THAT(choose_rate(better, false, 100).why, HasSubstr("0.001 scored better, but the next rate diverged"));
  EXPECT_EQ(chosen({result(1e-4, 1.0, 0.5), result(1e-3, 0.5, 0.9), result(1e-2, 2.5, 0.95)}), 1e-4);  // a risen loss
  const std::vector<RateResult> only{result(1e-4, 1.0, 0.5), stopped(1e-3), stopped(1e-2)};
  EXPECT_EQ(chosen(only), 1e-4);  // there is no other
  EXPECT_THAT(choose_rate(only, false, 100).why, HasSubstr("the next higher rate diverged"));
}

TEST(ChooseRate, WhatIsNotANumberNeverWins) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(chosen({result(1e-4, 1.9, 0.3), result(1e-3, 1.9, nan), result(1e-2, 1.0, 0.2), result(1e-1, nan, 0.9)}),
            1e-4);
  EXPECT_EQ(chosen({{.rate = 1e-4, .first = 2.0, .loss = 1.5}, {.rate = 1e-3, .first = 2.0, .loss = 1.0}}),
            1e-3);  // no dev
}

TEST(ChooseRate, SuggestsNothingWhereAllDiverged) {
  const RateChoice choice = choose_rate({stopped(1e-3), stopped(1e-2)}, false, 100);
  EXPECT_FALSE(choice.best);
  EXPECT_THAT(choice.why, HasSubstr("every rate diverged"));
}

TEST(ChooseRate, SaysWhereTheBestStandsAtAnEnd) {
  const auto why = [](const std::vector<RateResult>& results) { return choose_rate(results, false, 100).why; };
  EXPECT_THAT(why({result(1e-4, 1.9, 0.1), result(1e-3, 1.5, 0.4), result(1e-2, 1.0, 0.7)}),
              HasSubstr("highest tried"));
  EXPECT_THAT(why({result(1e-4, 1.0, 0.7), result(1e-3, 1.5, 0.4), result(1e-2, 1.9, 0.1)}), HasSubstr("lowest tried"));
  EXPECT_THAT(why({result(1e-4, 1.5, 0.4), result(1e-3, 1.0, 0.7), result(1e-2, 1.9, 0.1)}), Not(HasSubstr("tried")));
}

TEST(RateCurve, HasARowForEachRateAndMarksOne) {
  const std::string text =
      rate_curve({result(1e-4, 1.9, 0.25), result(1e-3, 1.0, 0.75), stopped(1e-2)}, "accuracy", 100);
  EXPECT_THAT(text, HasSubstr("|        0.0001 |   1.9000 |   0.2500 | # "));
  EXPECT_THAT(text, HasSubstr("|         0.001 |   1.0000 |   0.7500 | ############################## |"));
  EXPECT_THAT(text, HasSubstr("| diverged |"));
  EXPECT_THAT(text, HasSubstr("Suggested: train.learning_rate 0.0001"));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 7);
}

class FindRate : public testing::Test {
 protected:
  const TinyTask task_{"find_rate"};

  SweepConfig sweep(const Json& train) const {
    write_atomic(task_.folder / "run.json", to_pretty_string(task_.config("out", {{"type", "lora"}}, train)));
    return find_rate_sweep(task_.folder / "run.json", {});
  }
};

TEST_F(FindRate, TriesTenRatesForAHundredStepsBesideTheRunsFolder) {
  const SweepConfig found = sweep({{"max_steps", 5000}, {"warmup_steps", 500}, {"early_stopping_patience", 2}});
  ASSERT_EQ(found.runs.size(), 10);
  EXPECT_EQ(found.output, (task_.folder / "out-find-rate").string());
  EXPECT_EQ(found.runs[0].config.train.learning_rate, 1e-5);
  EXPECT_EQ(found.runs[9].config.train.learning_rate, 0.3);
  const TrainConfig& train = found.runs[0].config.train;
  EXPECT_EQ(train.max_steps, 100);
  EXPECT_EQ(train.warmup_steps, 10);
  EXPECT_EQ(train.eval_steps, 0);
  EXPECT_FALSE(train.early_stopping_patience);
  EXPECT_EQ(plan_banks(found.runs, 10).size(), 1);
}

TEST_F(FindRate, TakesNoMoreStepsThanTheRun) {
  EXPECT_EQ(sweep({{"max_steps", 12}}).runs[0].config.train.max_steps, 12);
  // 50 rows of batch 8: 7 steps an epoch
  EXPECT_EQ(sweep({{"max_steps", -1}, {"num_train_epochs", 2}}).runs[0].config.train.max_steps, 14);
  EXPECT_EQ(sweep({{"max_steps", -1}, {"num_train_epochs", 20}}).runs[0].config.train.max_steps, 100);
}

TEST_F(FindRate, RefusesASweep) {
  Json json = task_.config("out", {{"type", "lora"}});
  json["sweep"] = {{"train.seed", {1, 2}}};
  write_atomic(task_.folder / "sweep.json", to_pretty_string(json));
  EXPECT_THAT(
      [&] { find_rate_sweep(task_.folder / "sweep.json", {}); },
      testing::ThrowsMessage<ConfigError>(HasSubstr("sweep.json: sweep: --find-rate takes the config of one run")));
}

}  // namespace
}  // namespace peft
