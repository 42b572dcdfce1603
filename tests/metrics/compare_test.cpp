#include "peft/metrics/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "peft/base/error.h"

namespace peft {
namespace {

using testing::DoubleEq;
using testing::ElementsAre;

Scored classes(std::vector<double> predictions, std::vector<double> references) {
  return {std::move(predictions), std::move(references), {}, 2};
}

TEST(Mcnemar, IsTheExactBinomialTest) {
  EXPECT_EQ(mcnemar_p({0, 0}), 1.0);
  EXPECT_EQ(mcnemar_p({3, 3}), 1.0);
  EXPECT_EQ(mcnemar_p({0, 1}), 1.0);
  EXPECT_DOUBLE_EQ(mcnemar_p({0, 6}), 2.0 / 64);
  EXPECT_DOUBLE_EQ(mcnemar_p({8, 1}), 2.0 * 10 / 512);
  EXPECT_EQ(mcnemar_p({8, 1}), mcnemar_p({1, 8}));
  EXPECT_NEAR(mcnemar_p({0, 1000}) / std::ldexp(1.0, -999), 1.0, 1e-15);
  EXPECT_EQ(mcnemar_p({0, 200'000}), 0.0) << "below the smallest double, and no NaN";
  EXPECT_NEAR(mcnemar_p({500'000, 500'001}), 1.0, 1e-12);
}

TEST(Holm, MultipliesByTheNumberOfTestsLeft) {
  EXPECT_THAT(holm_adjusted({0.01, 0.04, 0.03}), ElementsAre(DoubleEq(0.03), DoubleEq(0.06), DoubleEq(0.06)));
  EXPECT_THAT(holm_adjusted({0.9, 0.8}), ElementsAre(1.0, 1.0));
  EXPECT_THAT(holm_adjusted({0.2}), ElementsAre(0.2));
}

TEST(Compare, BootstrapsBothSidesWithTheSameResamples) {
  const std::vector<double> references{1, 0, 1, 1, 0, 1, 0};
  const Scored a = classes({1, 0, 1, 0, 0, 1, 0}, references), b = classes({1, 1, 0, 1, 0, 0, 0}, references);
  const Comparison got = compare_scores("accuracy", a, b, 41, 5);
  EXPECT_DOUBLE_EQ(got.a.value, 6.0 / 7);
  EXPECT_DOUBLE_EQ(got.b.value, 4.0 / 7);
  EXPECT_DOUBLE_EQ(got.difference, 6.0 / 7 - 4.0 / 7);
  EXPECT_EQ(got.rows->only_a, 3);
  EXPECT_EQ(got.rows->only_b, 1);
  EXPECT_DOUBLE_EQ(mcnemar_p(*got.rows), 2.0 * 5 / 16);

  std::vector<double> differences;
  int least = 0, most = 0;
  for (uint64_t i = 0; i < 41; ++i) {
    int sum = 0;
    for (uint64_t k = 0; k < 7; ++k) {
      const uint64_t row = bootstrap_draw(5, i, k, 7);
      sum += (a.predictions[row] == references[row]) - (b.predictions[row] == references[row]);
    }
    least += sum <= 0;
    most += sum >= 0;
    differences.push_back(sum / 7.0);
  }
  std::sort(differences.begin(), differences.end());
  EXPECT_NEAR(got.ci95.low, differences[1], 1e-12);
  EXPECT_NEAR(got.ci95.high, differences[39], 1e-12);
  EXPECT_DOUBLE_EQ(got.p_bootstrap, std::min(1.0, 2.0 * (1 + std::min(least, most)) / 42));
}

TEST(Compare, EqualSidesDifferInNothing) {
  const Scored same = classes({1, 0, 0}, {1, 1, 0});
  const Comparison got = compare_scores("mcc", same, same, 100, 0);
  EXPECT_EQ(got.difference, 0.0);
  EXPECT_EQ(got.p_bootstrap, 1.0);
  EXPECT_EQ(mcnemar_p(*got.rows), 1.0);
  EXPECT_EQ(got.ci95.low, 0.0);
  EXPECT_EQ(got.ci95.high, 0.0);
}

TEST(Compare, RowsAreRightAsTheMetricSees) {
  const auto texts = [](std::vector<std::string> predictions) {
    Scored scored;
    scored.predicted_texts = std::move(predictions);
    scored.reference_texts = {{"the cat"}, {"5"}};
    return scored;
  };
  const Scored a = texts({"Cat", "x"}), b = texts({"dog", "5.0"});
  const auto only = [&](const char* metric) {
    const Comparison got = compare_scores(metric, a, b, 10, 0);
    return got.rows ? std::pair(got.rows->only_a, got.rows->only_b) : std::pair<int64_t, int64_t>(-1, -1);
  };
  EXPECT_EQ(only("squad_em"), (std::pair<int64_t, int64_t>(1, 0)));
  EXPECT_EQ(only("squad_f1"), (std::pair<int64_t, int64_t>(1, 0)));
  EXPECT_EQ(only("exact_match"), (std::pair<int64_t, int64_t>(0, 0)));
  for (const char* metric : {"rouge1", "rougeL", "bleu"}) {
    EXPECT_EQ(only(metric), (std::pair<int64_t, int64_t>(-1, -1))) << metric;
  }
  const Scored x{{1, 2, 3}, {1, 2, 4}, {}}, y{{1, 3, 2}, {1, 2, 4}, {}};
  EXPECT_FALSE(compare_scores("pearson", x, y, 10, 0).rows);
  Scored sets, others;
  sets.predicted_sets = {{0}, {-1}};
  others.predicted_sets = {{0, 1}, {1}};
  sets.reference_sets = others.reference_sets = {{0}, {1}};
  const Comparison of_sets = compare_scores("micro_f1", sets, others, 10, 0);
  EXPECT_EQ(of_sets.rows->only_a, 1);
  EXPECT_EQ(of_sets.rows->only_b, 1);
}

TEST(Compare, OtherRowsCannotBeCompared) {
  EXPECT_THROW(compare_scores("accuracy", classes({1}, {1}), classes({1}, {0}), 10, 0), DataError);
  EXPECT_THROW(compare_scores("accuracy", classes({1}, {1}), classes({1, 1}, {1, 1}), 10, 0), DataError);
  EXPECT_THROW(compare_scores("accuracy", classes({1}, {1}), classes({1}, {1}), 0, 0), ConfigError);
}

}  // namespace
}  // namespace peft
