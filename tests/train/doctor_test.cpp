#include "src/train/doctor.h"

#include <gmock/gmock.h>

#include <cmath>
#include <functional>
#include <limits>

namespace peft {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// A batch's noise: +-1 in a fixed irregular order, of mean 0 over 8.
double noise(int64_t step) {
  constexpr double kPattern[] = {1, -1, -1, 1, -1, 1, 1, -1};
  return kPattern[step % 8];
}

class DoctorTest : public testing::Test {
 protected:
  Doctor::Setting setting_{.learning_rate = 1e-2, .warmup_steps = 10, .batch = 16};
  DataFacts data_{.examples = 1000, .max_length = 64, .label_counts = {500, 500}, .labels = {"no", "yes"}};
  Doctor::Sample start_{{"adapter", {1.0, -1.0}}, {"head", {0.5, 0.5}}};
  double moved_ = 0.5, head_moved_ = 0.5;  // of the values, by the time the rate is judged

  Doctor::Sample moved() const {
    Doctor::Sample values = start_;
    for (double& x : values["adapter"]) x *= 1 + moved_;
    for (double& x : values["head"]) x *= 1 + head_moved_;
    return values;
  }
  Doctor begun() const {
    Doctor doctor(setting_);
    doctor.begin(data_, start_);
    return doctor;
  }
  void steps(Doctor& doctor, int64_t first, int64_t last, const std::function<double(int64_t)>& loss) const {
    for (int64_t step = first; step <= last; ++step) {
      const double value = loss(step);
      doctor.count(step, value, std::isfinite(value));
      if (doctor.judges_rate_at(step)) doctor.judge_rate(step, moved());
    }
  }
  std::vector<std::string> names_after(int64_t count, const std::function<double(int64_t)>& loss) const {
    Doctor doctor = begun();
    steps(doctor, 1, count, loss);
    return names(doctor);
  }
  static std::vector<std::string> names(const Doctor& doctor) {
    std::vector<std::string> all;
    for (const Finding& finding : doctor.findings()) all.push_back(finding.name);
    return all;
  }
};

double falling(int64_t step) { return 0.7 * std::exp(-static_cast<double>(step) / 100.0) + 0.02 * noise(step); }
double flat(int64_t step) { return 0.7 + 0.02 * noise(step); }

TEST_F(DoctorTest, AHealthyRunHasNoFinding) {
  Doctor doctor = begun();
  for (int64_t first = 1; first < 400; first += 100) {
    steps(doctor, first, first + 99, falling);
    doctor.look_at(first + 99, {{"prompt_norm", {3.0, ""}}, {"prefix_attention", {0.3, ""}}});
    doctor.evaluated(first + 99, false);
  }
  doctor.conclude(400, moved());
  EXPECT_THAT(names(doctor), IsEmpty());
}

TEST_F(DoctorTest, TheRateIsJudgedFiftyStepsAfterTheWarmUp) {
  Doctor doctor = begun();
  std::vector<int64_t> judged;
  for (int64_t step = 1; step <= 400; ++step) {
    doctor.count(step, 0.5, true);
    if (doctor.judges_rate_at(step)) {
      judged.push_back(step);
      doctor.judge_rate(step, moved());
    }
  }
  EXPECT_THAT(judged, ElementsAre(60));
}

TEST_F(DoctorTest, AShorterRunIsJudgedAtItsEnd) {
  moved_ = head_moved_ = 1e-3;
  const auto names_at_end = [&](int64_t last) {
    Doctor doctor = begun();
    steps(doctor, 1, last, flat);
    EXPECT_THAT(names(doctor), IsEmpty());
    doctor.conclude(last, moved());
    return names(doctor);
  };
  EXPECT_THAT(names_at_end(36), ElementsAre("rate_too_low"));
  EXPECT_THAT(names_at_end(29), IsEmpty());  // too few steps to tell anything
}

TEST_F(DoctorTest, ARateIsTooLowWhereNeitherLossNorValuesMove) {
  moved_ = head_moved_ = 1e-3;
  EXPECT_THAT(names_after(60, flat), ElementsAre("rate_too_low"));
  EXPECT_THAT(names_after(59, flat), IsEmpty());
  EXPECT_THAT(names_after(60, falling), IsEmpty());  // small steps that help
  head_moved_ = 0.01;
  EXPECT_THAT(names_after(60, flat), IsEmpty());  // a hard task may take longer
}

TEST_F(DoctorTest, TheMessageNamesTheKeyTheNumbersAndTheCure) {
  moved_ = head_moved_ = 1e-3;
  setting_.learning_rate = 1e-6;
  Doctor doctor = begun();
  steps(doctor, 1, 60, flat);
  const std::string message = doctor.findings().at(0).message;
  for (const char* part :
       {"train.learning_rate: 1e-06", "in 60 steps", "from 0.69", "0.0999 %", "0.0001", "--find-rate"})
    EXPECT_THAT(message, HasSubstr(part));
  EXPECT_EQ(doctor.findings().at(0).step, 60);
}

TEST_F(DoctorTest, ARateIsTooHighWhereTheLossRises) {
  EXPECT_THAT(names_after(60, [](int64_t step) { return step == 1 ? 0.7 : 1.2 + 0.02 * noise(step); }),
              ElementsAre("rate_too_high"));
  EXPECT_THAT(names_after(60, [](int64_t step) { return step == 1 ? 0.7 : 0.9 + 0.02 * noise(step); }), IsEmpty());
}

TEST_F(DoctorTest, AFirstBatchMayBeLuckOrTheRestOfTheEpochHarder) {
  const auto harder = [](int64_t step) { return step == 1 ? 0.56 : 1.1 + 0.02 * noise(step); };
  // By way of 1.0, but not worse than an answer by the frequencies, ln 2.
  EXPECT_THAT(names_after(60, [](int64_t step) { return step == 1 ? 0.3 : step < 20 ? 1.0 : 0.65; }), IsEmpty());
  EXPECT_THAT(names_after(60, harder), ElementsAre("rate_too_high"));
  EXPECT_THAT(names_after(60, [](int64_t step) { return step == 1 ? 0.56 : 0.75 + 0.2 * noise(step); }), IsEmpty());
  EXPECT_THAT(names_after(60, [](int64_t step) { return step == 1 ? 0.56 : 1.0 + 0.5 * noise(step); }), IsEmpty());
  moved_ = head_moved_ = 0.05;  // what has hardly moved is not to blame
  EXPECT_THAT(names_after(60, harder), IsEmpty());
}

TEST_F(DoctorTest, ALossThatPeaksAndComesBackIsNoFinding) {
  EXPECT_THAT(names_after(60, [](int64_t step) { return step < 20 ? (step == 1 ? 0.7 : 1.5) : falling(step); }),
              IsEmpty());
}

TEST_F(DoctorTest, ARateIsTooHighWhereTheLossJumps) {
  EXPECT_THAT(names_after(60, [](int64_t step) { return step < 5 ? 0.7 : 0.6 + 0.8 * noise(step); }),
              ElementsAre("rate_too_high"));
}

TEST_F(DoctorTest, TheLossOfOneExampleMayRiseAndJump) {
  const auto loss = [](int64_t step) { return step == 1 ? 0.01 : 0.6 + 0.6 * noise(step); };
  EXPECT_THAT(names_after(60, loss), ElementsAre("rate_too_high"));
  setting_.batch = 1;
  EXPECT_THAT(names_after(60, loss), IsEmpty());
  setting_.batch = 16;  // of a checkpoint that has few mistakes to make
  EXPECT_THAT(names_after(60, [](int64_t step) { return step == 1 ? 0.01 : 0.1 + 0.1 * noise(step); }), IsEmpty());
}

TEST_F(DoctorTest, ARateIsTooHighWhereStepsAreNotFinite) {
  const auto skips = [](int64_t count) {
    return [count](int64_t step) { return step <= count ? std::numeric_limits<double>::infinity() : falling(step); };
  };
  EXPECT_THAT(names_after(60, skips(3)), ElementsAre("rate_too_high"));
  EXPECT_THAT(names_after(60, skips(2)), IsEmpty());
}

TEST_F(DoctorTest, AGuardIsARateThatWasTooHigh) {
  Doctor doctor = begun();
  doctor.stopped(33, "the loss diverged: 70 (smoothed) after 0.7 in the first 10 steps");
  EXPECT_THAT(names(doctor), ElementsAre("rate_too_high"));
  EXPECT_THAT(doctor.findings()[0].message, HasSubstr("the loss diverged: 70"));
  EXPECT_THAT(doctor.findings()[0].message, HasSubstr("try 0.001"));
}

TEST_F(DoctorTest, AHeadIsStillWhereOnlyTheRestMoves) {
  head_moved_ = 0.0;
  EXPECT_THAT(names_after(60, falling), ElementsAre("head_still"));
  start_.erase("head");  // modules_to_save []
  Doctor doctor(setting_);
  doctor.begin(data_, start_);
  for (int64_t step = 1; step <= 60; ++step) doctor.count(step, falling(step), true);
  doctor.judge_rate(60, {{"adapter", {1.1, -1.1}}});
  EXPECT_THAT(names(doctor), IsEmpty());
}

TEST_F(DoctorTest, VirtualTokensStartNearWords) {
  for (const auto& [ratio, sick] : {std::pair{9.0, false}, {0.2, false}, {11.0, true}, {0.09, true}}) {
    Doctor doctor = begun();
    doctor.look_at(0, {{"prompt_norm", {ratio, "method.prompt_tuning_init: words"}}});
    ASSERT_EQ(names(doctor).size(), sick ? 1 : 0) << ratio;
    if (sick) {
      EXPECT_THAT(doctor.findings()[0].message, HasSubstr("method.prompt_tuning_init: words"));
    }
  }
}

TEST_F(DoctorTest, VirtualTokensThatHaveGrownAreTheRatesFault) {
  Doctor doctor = begun();
  doctor.look_at(100, {{"prompt_norm", {99.0, "method.prompt_tuning_init: words"}}});
  EXPECT_THAT(names(doctor), IsEmpty());
  doctor.look_at(200, {{"prompt_norm", {101.0, "method.prompt_tuning_init: words"}}});
  ASSERT_THAT(names(doctor), ElementsAre("prompt_norm"));
  EXPECT_THAT(doctor.findings()[0].message, HasSubstr("train.learning_rate: 0.01 is too high"));
}

TEST_F(DoctorTest, APrefixGetsAttention) {
  for (const auto& [share, sick] : {std::pair{0.006, false}, {0.004, true}}) {
    Doctor doctor = begun();
    doctor.look_at(100, {{"prefix_attention", {share, "method.init_std: a smaller one"}}});
    EXPECT_EQ(names(doctor).size(), sick ? 1 : 0) << share;
  }
}

TEST_F(DoctorTest, MostExamplesAreWhole) {
  data_.lost_tokens = 3000;
  data_.truncated = 100;
  EXPECT_THAT(names(begun()), IsEmpty());
  data_.truncated = 150;
  ASSERT_THAT(names(begun()), ElementsAre("truncated"));
  EXPECT_THAT(begun().findings()[0].message, HasSubstr("task.max_length: 64 cuts 15 %"));
  EXPECT_THAT(begun().findings()[0].message, HasSubstr("20 tokens"));
}

TEST_F(DoctorTest, NoLabelHasNearlyAllExamples) {
  data_.label_counts = {950, 50};
  EXPECT_THAT(names(begun()), IsEmpty());
  data_.label_counts = {40, 960};
  ASSERT_THAT(names(begun()), ElementsAre("one_sided_labels"));
  EXPECT_THAT(begun().findings()[0].message, HasSubstr("96 % of the training examples have the label \"yes\""));
}

TEST_F(DoctorTest, PredictionsAlikeTwiceOrAtTheEndAreAFinding) {
  const auto evaluated = [&](std::vector<bool> collapsed) {
    Doctor doctor = begun();
    for (std::size_t i = 0; i < collapsed.size(); ++i) {
      const auto first = static_cast<int64_t>(100 * i);
      steps(doctor, first + 1, first + 100, falling);
      doctor.evaluated(first + 100, collapsed[i]);
      if (i + 1 < collapsed.size()) {
        EXPECT_THAT(names(doctor), IsEmpty()) << i;
      }
    }
    doctor.conclude(static_cast<int64_t>(100 * collapsed.size()), moved());
    return names(doctor);
  };
  EXPECT_THAT(evaluated({true, false, true, false}), IsEmpty());
  EXPECT_THAT(evaluated({true, true}), ElementsAre("one_prediction"));
  EXPECT_THAT(evaluated({false, false, false, true}), ElementsAre("one_prediction"));
  Doctor doctor = begun();
  steps(doctor, 1, 30, falling);  // too few to expect more
  doctor.evaluated(30, true);
  doctor.conclude(30, moved());
  EXPECT_THAT(names(doctor), IsEmpty());
}

TEST_F(DoctorTest, ALossThatNeverFallsIsAFindingAtTheEnd) {
  const auto evaluated = [&](int64_t every) {
    Doctor doctor = begun();
    for (int64_t step = every; step <= 400; step += every) {
      steps(doctor, step - every + 1, step, flat);
      doctor.evaluated(step, false);
      EXPECT_THAT(names(doctor), IsEmpty()) << step;
    }
    doctor.conclude(400, moved());
    return names(doctor);
  };
  for (const int64_t every : {10, 16, 80, 400})
    EXPECT_THAT(evaluated(every), ElementsAre("loss_does_not_fall")) << every;
  setting_.fresh = false;  // init_from may leave nothing to fall
  EXPECT_THAT(evaluated(100), IsEmpty());
}

TEST_F(DoctorTest, ALongRunIsToldBeforeItsEnd) {
  Doctor doctor = begun();
  steps(doctor, 1, 499, flat);
  doctor.evaluated(499, false);
  EXPECT_THAT(names(doctor), IsEmpty());
  steps(doctor, 500, 500, flat);
  doctor.evaluated(500, false);
  EXPECT_THAT(names(doctor), ElementsAre("loss_does_not_fall"));
}

TEST_F(DoctorTest, WhatFollowsFromTheRateIsNotSaidToo) {
  moved_ = head_moved_ = 0.0;
  Doctor doctor = begun();
  steps(doctor, 1, 400, flat);
  doctor.evaluated(400, true);
  doctor.conclude(400, moved());
  EXPECT_THAT(names(doctor), ElementsAre("rate_too_low"));
}

TEST_F(DoctorTest, SaysEachFindingOnce) {
  data_.truncated = 500;
  Doctor doctor = begun();
  EXPECT_EQ(doctor.take_new().size(), 1);
  doctor.look_at(100, {{"prefix_attention", {0.0, ""}}});
  doctor.look_at(200, {{"prefix_attention", {0.0, ""}}});
  EXPECT_EQ(doctor.take_new().size(), 1);
  EXPECT_THAT(doctor.take_new(), IsEmpty());
  EXPECT_EQ(doctor.findings_json().size(), 2);
}

TEST_F(DoctorTest, GoesOnFromAnyStepToTheSameState) {
  moved_ = head_moved_ = 1e-3;
  data_.truncated = 500;
  Doctor whole = begun();
  steps(whole, 1, 100, flat);
  for (const int64_t cut : {0, 1, 11, 45, 59, 60, 80}) {
    Doctor before = begun();
    steps(before, 1, cut, flat);
    Doctor after(setting_);
    after.resume(Json::parse(before.to_json().dump()));
    EXPECT_THAT(after.take_new(), IsEmpty());  // said before
    steps(after, cut + 1, 100, flat);
    EXPECT_EQ(after.to_json().dump(), whole.to_json().dump()) << cut;
  }
}

TEST_F(DoctorTest, WhatItHasNotSeenFromTheStartItDoesNotJudge) {
  Doctor doctor(setting_);
  doctor.resume(Json());  // a checkpoint that is older
  steps(doctor, 11, 400, flat);
  doctor.look_at(400, {{"prompt_norm", {200.0, ""}}});
  doctor.evaluated(400, true);
  doctor.conclude(400, moved());
  EXPECT_THAT(names(doctor), IsEmpty());
  EXPECT_TRUE(doctor.to_json().is_null());
}

TEST(RelativeChanges, AreNormsOfDifferencesByGroup) {
  const auto changes = relative_changes({{"adapter", {3.0, 4.0}}, {"head", {0.0, 0.0}}, {"encoder", {0.0}}},
                                        {{"adapter", {3.0, 3.0}}, {"head", {0.0, 2.0}}, {"encoder", {0.0}}});
  EXPECT_EQ(changes.at("adapter"), 0.2);
  EXPECT_EQ(changes.at("head"), 1.0);  // from nothing
  EXPECT_EQ(changes.at("encoder"), 0.0);
}

}  // namespace
}  // namespace peft
