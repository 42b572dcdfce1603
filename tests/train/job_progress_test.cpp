#include "src/train/job_progress.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "src/train/job.h"
#include "src/train/job_reports.h"

namespace peft {
namespace {

using testing::HasSubstr;

/// A job of 8 rows, 2 in a step: 4 steps an epoch.
class Progress : public testing::Test {
 protected:
  EncodedSplit rows_ = [] {
    EncodedSplit split;
    for (int64_t example = 0; example < 8; ++example) {
      split.add_sequence(std::vector<int32_t>{1}, std::vector<uint8_t>{0});
      split.end_example(int64_t{0}, example);
    }
    return split;
  }();
  TrainConfig config_ = [] {
    TrainConfig config;
    config.batch_size = 2;
    config.max_steps = 40;
    config.metric_for_best_model = "accuracy";
    return config;
  }();

  static void steps(JobProgress& progress, int64_t count, double loss, bool finite = true) {
    for (int64_t i = 0; i < count; ++i) progress.count(progress.next(), finite, loss, 7);
  }
};

constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST_F(Progress, CountsTheEvaluationsOfARun) {
  EXPECT_EQ(JobProgress(config_, rows_).evaluations(), 10);  // 40 steps, 4 in an epoch
  config_.eval_steps = 0;
  EXPECT_EQ(JobProgress(config_, rows_).evaluations(), 1);
  config_.eval_steps = 15;
  EXPECT_EQ(JobProgress(config_, rows_).evaluations(), 3);  // at 15, 30 and the end
}

TEST(RunEstimate, ScalesTheFirstStepsByTheirTokens) {
  RunEstimate estimate;
  estimate.other_seconds = 1.0;
  EXPECT_EQ(estimate.train_seconds(100.0), 1.0);
  EXPECT_TRUE(estimate.add(2.0, 10));
  EXPECT_TRUE(estimate.add(4.0, 30));
  EXPECT_TRUE(estimate.add(3.0, 20));
  EXPECT_FALSE(estimate.add(100.0, 1));
  EXPECT_DOUBLE_EQ(estimate.train_seconds(600.0), 1.0 + 0.15 * 600.0);
  EXPECT_GT(estimate.peak_memory_bytes, 1 << 20);
}

TEST_F(Progress, CountsStepsRowsAndTokens) {
  JobProgress progress(config_, rows_);
  steps(progress, 6, 0.5);
  EXPECT_EQ(progress.state().step, 6);
  EXPECT_EQ(progress.state().updates, 6);
  EXPECT_EQ(progress.state().samples, 12);
  EXPECT_EQ(progress.state().tokens, 42);
  EXPECT_EQ(progress.epochs_done(), 1.5);
}

TEST_F(Progress, ASkippedStepCountsInNoLoss) {
  JobProgress progress(config_, rows_);
  steps(progress, 1, 0.25);
  EXPECT_FALSE(progress.count(progress.next(), false, 0.5, 7));
  EXPECT_FALSE(progress.count(progress.next(), true, kInfinity, 7));
  steps(progress, 1, 0.75);
  EXPECT_EQ(progress.take_log_line().at("loss"), 0.5);
  EXPECT_EQ(progress.state().nonfinite_steps, 2);
  EXPECT_EQ(progress.state().updates, 2);
}

TEST_F(Progress, AWindowOfSkippedStepsHasNoLoss) {
  JobProgress progress(config_, rows_);
  steps(progress, 1, 0.25);
  progress.take_log_line();
  steps(progress, 2, 0.0, false);
  EXPECT_TRUE(progress.take_log_line().at("loss").is_null());
}

TEST_F(Progress, TenSkippedStepsInARowStopIt) {
  JobProgress progress(config_, rows_);
  steps(progress, 9, 0.0, false);
  steps(progress, 1, 0.5);
  steps(progress, 9, 0.0, false);
  EXPECT_EQ(progress.guard(), std::nullopt);
  steps(progress, 1, 0.0, false);
  EXPECT_THAT(progress.guard().value_or(""), HasSubstr("10 steps in a row"));
}

TEST_F(Progress, MoreThanHalfOfAllStepsSkippedIsNoResult) {
  config_.max_steps = 10;
  for (const int64_t skipped : {5, 6}) {
    JobProgress progress(config_, rows_);
    for (int64_t i = 0; i < 10; ++i) {
      steps(progress, 1, 0.5, i >= skipped);
      if (i < 9) {
        EXPECT_EQ(progress.guard(), std::nullopt);
      }
    }
    EXPECT_EQ(progress.guard().value_or(""),
              skipped == 5 ? "" : "6 of 10 steps had a loss or gradient that is not finite");
  }
}

TEST_F(Progress, ALossTenTimesTheFirstStopsIt) {
  JobProgress progress(config_, rows_);
  steps(progress, 10, 0.5);
  steps(progress, 5, 16.0);  // the smoothed loss is 0.5 + 15.5 (1 - 0.9^5) = 6.8
  EXPECT_EQ(progress.guard(), std::nullopt);
  steps(progress, 40, 16.0);
  EXPECT_THAT(progress.guard().value_or(""), HasSubstr("diverged"));
}

TEST_F(Progress, PatienceCountsEvaluationsWithoutABetterScore) {
  config_.early_stopping_patience = 2;
  JobProgress progress(config_, rows_);
  steps(progress, 1, 0.5);
  EXPECT_TRUE(progress.note_score(0.6));
  EXPECT_FALSE(progress.note_score(0.6));
  EXPECT_FALSE(progress.ended());
  EXPECT_TRUE(progress.note_score(0.7));
  EXPECT_FALSE(progress.note_score(0.1));
  EXPECT_FALSE(progress.note_score(0.2));
  EXPECT_TRUE(progress.ended());
  EXPECT_EQ(progress.state().best_score, 0.7);
}

TEST_F(Progress, OfALossTheLowerIsBetter) {
  config_.metric_for_best_model = "loss";
  JobProgress progress(config_, rows_);
  EXPECT_TRUE(progress.note_score(0.6));
  EXPECT_FALSE(progress.note_score(0.7));
  EXPECT_TRUE(progress.note_score(0.5));
}

TEST_F(Progress, EvaluatesAndSavesWhenTheConfigSays) {
  config_.max_steps = 10;
  config_.save_steps = 3;  // eval_steps absent: every epoch
  config_.logging_steps = 4;
  JobProgress progress(config_, rows_);
  std::vector<int64_t> evaluated, saved, logged;
  for (int64_t step = 1; step <= 10; ++step) {
    steps(progress, 1, 0.5);
    if (progress.evaluates_now()) evaluated.push_back(step);
    if (progress.saves_now()) saved.push_back(step);
    if (progress.logs_in_turn() || progress.at_last_step()) logged.push_back(step);
  }
  EXPECT_THAT(evaluated, testing::ElementsAre(4, 8, 10));
  EXPECT_THAT(saved, testing::ElementsAre(3, 6, 9, 10));
  EXPECT_THAT(logged, testing::ElementsAre(4, 8, 10));
}

TEST_F(Progress, WhatALongerRunDoesNotDoAtTheLastStepCanBeUndone) {
  config_.max_steps = 5;  // neither logged nor evaluated in turn
  config_.eval_steps = 2;
  JobProgress run(config_, rows_);
  steps(run, 5, 0.5);
  EXPECT_TRUE(run.at_last_step());
  EXPECT_FALSE(run.logs_in_turn());
  EXPECT_FALSE(run.evaluates_in_turn());
  EXPECT_EQ(run.saved().of_longer_run, std::nullopt);
  run.keep_for_longer_run(123, {});
  run.take_log_line();
  run.note_score(0.9);
  const SavedState saved = run.saved();
  EXPECT_EQ(saved.state.best_score, 0.9);
  EXPECT_EQ(saved.state.window_steps, 0);
  EXPECT_EQ(saved.of_longer_run->best_score, std::nullopt);
  EXPECT_EQ(saved.of_longer_run->window_steps, 5);
  EXPECT_EQ(saved.of_longer_run->log_bytes, 123);
}

TEST_F(Progress, GoesOnFromAState) {
  JobProgress whole(config_, rows_), parts(config_, rows_);
  steps(whole, 9, 0.5);
  parts.resume(JobState::from_json(whole.state().to_json(), "test"));
  steps(whole, 3, 0.25);
  steps(parts, 3, 0.25);
  EXPECT_EQ(parts.state().to_json(), whole.state().to_json());
  EXPECT_EQ(parts.take_log_line(), whole.take_log_line());
}

TEST(ScoreOf, AnUndefinedMetricNeverWins) {
  const auto score = [](const Json& undefined, const char* metric) {
    return score_of({{"eval_perplexity", 0.0}, {"eval_accuracy", 0.0}, {"eval_undefined", undefined}}, metric);
  };
  EXPECT_EQ(score({"perplexity", "accuracy"}, "perplexity"), std::numeric_limits<double>::max());
  EXPECT_EQ(score({"perplexity", "accuracy"}, "accuracy"), 0.0);
  EXPECT_EQ(score(Json::array(), "perplexity"), 0.0);
}

}  // namespace
}  // namespace peft
