#include "peft/train/schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace peft {
namespace {

Schedule schedule(const char* type, int64_t total, int64_t warmup, double ratio = 0.0) {
  TrainConfig config;
  config.lr_scheduler_type = type;
  config.warmup_steps = warmup;
  config.warmup_ratio = ratio;
  return {config, total};
}

TEST(Schedule, LinearRisesThenFallsToZero) {
  const Schedule s = schedule("linear", 100, 10);
  EXPECT_DOUBLE_EQ(s.factor(0), 0.0);
  EXPECT_DOUBLE_EQ(s.factor(5), 0.5);
  EXPECT_DOUBLE_EQ(s.factor(10), 1.0);
  EXPECT_DOUBLE_EQ(s.factor(55), 0.5);
  EXPECT_DOUBLE_EQ(s.factor(100), 0.0);
  EXPECT_DOUBLE_EQ(s.factor(200), 0.0);
}

TEST(Schedule, CosineIsHalfACosine) {
  const Schedule s = schedule("cosine", 110, 10);
  EXPECT_DOUBLE_EQ(s.factor(10), 1.0);
  EXPECT_NEAR(s.factor(60), 0.5, 1e-15);
  EXPECT_NEAR(s.factor(35), 0.5 * (1 + std::cos(std::numbers::pi / 4)), 1e-15);
}

TEST(Schedule, OnlyAConstantRateIgnoresTheLengthOfTheRun) {
  for (const std::string type : {"linear", "cosine", "constant", "constant_with_warmup"}) {
    for (const double ratio : {0.0, 0.1}) {
      for (const int64_t warmup : {0, 5}) {
        TrainConfig config;
        config.lr_scheduler_type = type;
        config.warmup_steps = warmup;
        config.warmup_ratio = ratio;
        bool same = true;
        for (int64_t step = 0; step < 40; ++step)
          same = same && Schedule(config, 40).factor(step) == Schedule(config, 90).factor(step);
        EXPECT_EQ(Schedule::ignores_length(config), same) << type << " " << ratio << " " << warmup;
      }
    }
  }
}

TEST(Schedule, ConstantIgnoresWarmUpAndItsSiblingDoesNot) {
  EXPECT_DOUBLE_EQ(schedule("constant", 100, 10).factor(0), 1.0);
  EXPECT_DOUBLE_EQ(schedule("constant_with_warmup", 100, 10).factor(4), 0.4);
  EXPECT_DOUBLE_EQ(schedule("constant_with_warmup", 100, 10).factor(99), 1.0);
}

TEST(Schedule, WarmUpRatioRoundsUpAndStepsWin) {
  EXPECT_DOUBLE_EQ(schedule("linear", 101, 0, 0.1).factor(10), 10.0 / 11.0);
  EXPECT_DOUBLE_EQ(schedule("linear", 100, 4, 0.5).factor(2), 0.5);
}

}  // namespace
}  // namespace peft
