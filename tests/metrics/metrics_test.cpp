#include "peft/metrics/metrics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "peft/base/error.h"

namespace peft {
namespace {

constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();

MetricValue score(const std::string& name, std::vector<double> predictions, std::vector<double> references,
                  int64_t num_classes = 0, std::vector<int64_t> groups = {}) {
  return compute_metric(name, {std::move(predictions), std::move(references), std::move(groups), num_classes});
}

void expect_undefined(const MetricValue& got) {
  EXPECT_EQ(got.value, 0.0);
  EXPECT_FALSE(got.undefined.empty());
}

TEST(Metrics, NamesAreRegistered) {
  for (const char* name : {"accuracy", "f1", "macro_f1", "macro_f1_all", "mcc", "pearson", "spearman", "multirc_f1a",
                           "multirc_em", "multirc_f1m", "gender_parity"})
    EXPECT_TRUE(metric_known(name)) << name;
  EXPECT_FALSE(metric_known("acc"));
  EXPECT_THROW(score("acc", {1}, {1}), ConfigError);
}

TEST(Accuracy, InvalidPredictionIsWrong) {
  EXPECT_EQ(score("accuracy", {0, -1, 1, nan_value}, {0, 0, 1, 1}).value, 0.5);
}

TEST(F1, InvalidPredictionCountsAsTheOppositeOfItsReference) {
  // TP 1, FN 1 (reference 1), FP 1 (reference 0).
  EXPECT_DOUBLE_EQ(score("f1", {1, -1, -1}, {1, 1, 0}).value, 0.5);
}

TEST(F1, IsUndefinedOnlyWithoutAnyPositive) {
  expect_undefined(score("f1", {0, 0}, {0, 0}));
  const MetricValue none_found = score("f1", {0, 0}, {1, 0});
  EXPECT_EQ(none_found.value, 0.0);
  EXPECT_TRUE(none_found.undefined.empty());
}

TEST(MacroF1, AveragesOverTheClassesThatOccur) {
  EXPECT_DOUBLE_EQ(score("macro_f1", {0, 0, 2}, {0, 0, 0}).value, (0.8 + 0.0) / 2);
  EXPECT_DOUBLE_EQ(score("macro_f1", {0, 0, -1}, {0, 0, 0}).value, 0.8) << "an invalid prediction adds no class";
}

TEST(MacroF1All, CountsAbsentClassesAsZeroAndNeedsTheirNumber) {
  EXPECT_DOUBLE_EQ(score("macro_f1_all", {0, 1}, {0, 1}, 4).value, 0.5);
  EXPECT_THROW(score("macro_f1_all", {0, 1}, {0, 1}), ConfigError);
}

TEST(Mcc, SingleClassOnASideIsUndefined) {
  expect_undefined(score("mcc", {1, 1, 1}, {0, 1, 1}));
  expect_undefined(score("mcc", {0, 1, 1}, {1, 1, 1}));
  EXPECT_DOUBLE_EQ(score("mcc", {0, 1, 2}, {0, 1, 2}).value, 1.0);
}

TEST(Mcc, InvalidIsOneExtraClass) {
  EXPECT_DOUBLE_EQ(score("mcc", {0, 1, -1, -1}, {0, 1, 0, 1}).value, score("mcc", {0, 1, 9, 9}, {0, 1, 0, 1}).value);
}

TEST(Correlations, UndefinedCases) {
  for (const char* name : {"pearson", "spearman"}) {
    expect_undefined(score(name, {1}, {1}));
    expect_undefined(score(name, {0.1, 0.1, 0.1}, {1, 2, 3}));
    expect_undefined(score(name, {1, 2, 3}, {0.1, 0.1, 0.1}));
    expect_undefined(score(name, {1, nan_value, 3}, {1, 2, 3}));
    expect_undefined(score(name, {1, std::numeric_limits<double>::infinity(), 3}, {1, 2, 3}));
    EXPECT_THROW(score(name, {1, 2}, {1, nan_value}), DataError);
  }
}

TEST(Correlations, ExtremeScalesNeitherOverflowNorVanish) {
  for (const double scale : {1e-310, 1e-200, 1.0, 1e200, 1e308})
    EXPECT_NEAR(score("pearson", {scale, -scale, scale / 2}, {2, -2, 1}).value, 1.0, 1e-12) << scale;
  EXPECT_EQ(score("pearson", {1, 2, 3}, {2, 4, 6}).value, 1.0);
}

TEST(Spearman, TiesShareTheMeanRankAndZerosAreEqual) {
  EXPECT_NEAR(score("spearman", {1, 2, 2, 3}, {1, 2, 3, 4}).value, 0.9486832980505138, 1e-15);
  expect_undefined(score("spearman", {0.0, -0.0}, {1, 2}));
}

TEST(GroupedMetrics, EveryAnswerOfAQuestionMustBeRight) {
  EXPECT_DOUBLE_EQ(score("multirc_em", {1, 0, 1, 1}, {1, 0, 1, 0}, 2, {7, 7, 3, 3}).value, 0.5);
  EXPECT_DOUBLE_EQ(score("multirc_f1m", {1, 0, 1, 1}, {1, 0, 1, 0}, 2, {7, 7, 3, 3}).value, (1.0 + 1.0 / 3) / 2);
  EXPECT_THROW(score("multirc_em", {1}, {1}), ConfigError);
}

TEST(GenderParity, NeedsPairsOfEqualValidPredictions) {
  EXPECT_DOUBLE_EQ(score("gender_parity", {1, 1, 0, 1, -1, -1}, {1, 1, 1, 1, 1, 1}, 2, {0, 0, 1, 1, 2, 2}).value,
                   1.0 / 3);
  EXPECT_THROW(score("gender_parity", {1, 1, 0}, {1, 1, 1}, 2, {0, 0, 0}), DataError);
}

TEST(Metrics, RowsThatCannotBeScoredAreErrors) {
  EXPECT_THROW(score("accuracy", {}, {}), DataError);
  EXPECT_THROW(score("accuracy", {1, 0}, {1}), DataError);
  EXPECT_THROW(score("accuracy", {1}, {-1}), DataError);
  EXPECT_THROW(score("accuracy", {1.5}, {1}), DataError);
  EXPECT_THROW(score("accuracy", {2}, {1}, 2), DataError);
}

// docs/tasks.md#metrics: class sizes of the dev splits, a predictor that always says the larger class.
TEST(Metrics, MajorityClassPredictorsHaveKnownScores) {
  const auto constant = [](int64_t zeros, int64_t ones, double prediction) {
    Scored scored;
    scored.references.assign(static_cast<std::size_t>(zeros), 0.0);
    scored.references.resize(static_cast<std::size_t>(zeros + ones), 1.0);
    scored.predictions.assign(scored.references.size(), prediction);
    return scored;
  };
  const Scored cola = constant(322, 721, 1), sst2 = constant(428, 444, 1), mrpc = constant(129, 279, 1),
               rte = constant(146, 131, 0);
  expect_undefined(compute_metric("mcc", cola));
  EXPECT_NEAR(compute_metric("accuracy", cola).value, 0.6913, 5e-5);
  EXPECT_NEAR(compute_metric("accuracy", sst2).value, 0.5092, 5e-5);
  EXPECT_NEAR(compute_metric("accuracy", mrpc).value, 0.6838, 5e-5);
  EXPECT_NEAR(compute_metric("f1", mrpc).value, 0.8122, 5e-5);
  EXPECT_NEAR(compute_metric("accuracy", rte).value, 0.5271, 5e-5);
  Scored cb{{}, {}, {}, 3};  // 23 entailment, 28 contradiction, 5 neutral; always contradiction
  for (const auto& [id, rows] : std::vector<std::pair<double, std::size_t>>{{0, 23}, {1, 28}, {2, 5}})
    cb.references.insert(cb.references.end(), rows, id);
  cb.predictions.assign(56, 1.0);
  EXPECT_DOUBLE_EQ(compute_metric("accuracy", cb).value, 0.5);
  EXPECT_NEAR(compute_metric("macro_f1", cb).value, 0.2222, 5e-5);
}

TEST(Bootstrap, DrawsHaveTheDocumentedValues) {
  std::vector<uint64_t> drawn;
  for (uint64_t i = 0; i < 8; ++i) drawn.push_back(bootstrap_draw(42, 0, i, 10));
  EXPECT_EQ(drawn, (std::vector<uint64_t>{7, 1, 2, 3, 0, 8, 2, 8}));
}

TEST(Bootstrap, IntervalEqualsResamplesScoredOneByOne) {
  const Scored scored{{1, 0, 1, 1, 0, -1, 1}, {1, 0, 0, 1, 1, 1, 0}, {}, 2};
  for (const char* metric : {"accuracy", "f1", "macro_f1", "mcc"}) {
    std::vector<double> values;
    for (uint64_t b = 0; b < 41; ++b) {  // (B - 1) 0.025 is an integer: no interpolation
      Scored resample;
      for (uint64_t i = 0; i < 7; ++i) {
        const uint64_t row = bootstrap_draw(5, b, i, 7);
        resample.predictions.push_back(scored.predictions[row]);
        resample.references.push_back(scored.references[row]);
      }
      values.push_back(compute_metric(metric, resample).value);
    }
    std::sort(values.begin(), values.end());
    const Interval got = bootstrap_interval(metric, scored, 41, 5);
    EXPECT_DOUBLE_EQ(got.low, values[1]) << metric;
    EXPECT_DOUBLE_EQ(got.high, values[39]) << metric;
  }
}

}  // namespace
}  // namespace peft
