#include "peft/train/sweep.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "tests/support/tiny_task.h"

namespace peft {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class Sweep : public testing::Test {
 protected:
  const TinyTask task_{"sweep"};

  SweepConfig read(const Json& sweep, const Json& method = {{"type", "lora"}, {"r", 2}}) const {
    Json json = task_.config("out", method);
    json["sweep"] = sweep;
    write_atomic(task_.folder / "sweep.json", to_pretty_string(json));
    return SweepConfig::read(task_.folder / "sweep.json");
  }
  std::string error(const Json& sweep) const {
    try {
      read(sweep);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "nothing";
  }
};

std::vector<std::string> names(const SweepConfig& sweep) {
  std::vector<std::string> all;
  for (const SweepRun& run : sweep.runs) all.push_back(run.name);
  return all;
}

TEST_F(Sweep, AGridIsTheProductOfItsLists) {
  const SweepConfig sweep = read({{"train.learning_rate", {0.1, 0.2}}, {"train.seed", {1, 2, 3}}});
  EXPECT_THAT(names(sweep),
              ElementsAre("learning_rate=0.1-seed=1", "learning_rate=0.1-seed=2", "learning_rate=0.1-seed=3",
                          "learning_rate=0.2-seed=1", "learning_rate=0.2-seed=2", "learning_rate=0.2-seed=3"));
  EXPECT_EQ(sweep.runs[4].config.train.learning_rate, 0.2);
  EXPECT_EQ(sweep.runs[4].config.train.seed, 2);
  EXPECT_EQ(sweep.runs[4].config.output, (task_.folder / "out" / "learning_rate=0.2-seed=2").string());
  EXPECT_EQ(sweep.runs[4].config.to_json()["method"]["r"], 2);
}

TEST_F(Sweep, AListOfGridsIsTheirUnionAndSectionsAreReplacedWhole) {
  const SweepConfig sweep = read(Json::array({{{"method", {{{"type", "lora"}, {"r", 4}}, {{"type", "linear_probe"}}}}},
                                              {{"train.seed", {7}}, {"method.r", {1, 2}}}}));
  EXPECT_THAT(names(sweep), ElementsAre("lora-r=4", "linear_probe", "r=1-seed=7", "r=2-seed=7"));
  EXPECT_EQ(sweep.runs[1].config.method->type, "linear_probe");
  EXPECT_EQ(sweep.runs[3].config.to_json()["method"]["r"], 2);
}

TEST_F(Sweep, EqualNamesAreNumberedAndLongOnesCut) {
  EXPECT_THAT(names(read({{"train.learning_rate", {0.1, 0.1}}})),
              ElementsAre("learning_rate=0.1", "learning_rate=0.1-2"));
  EXPECT_THAT(names(read({{"model.path", {"/a/m", "/b/m", "/c/m-2"}}})),
              ElementsAre("path=m", "path=m-2", "path=m-2-2"));
  EXPECT_THAT(names(read({{"data", {Json::object(), {{"limit", {{"train", 9}}}}}}})),
              ElementsAre("data", "limit=train=9"));
  const std::string text(300, 'x');
  const SweepConfig sweep = read({{"method.prompt_tuning_init_text", {text + "a", text + "b"}}},
                                 {{"type", "prompt"}, {"prompt_tuning_init", "TEXT"}});
  EXPECT_LT(sweep.runs[0].name.size(), 200U);
  EXPECT_NE(sweep.runs[0].name, sweep.runs[1].name);
}

TEST_F(Sweep, ErrorsNameTheKey) {
  EXPECT_THAT(error({{"train.learning_rat", {1}}}),
              HasSubstr("train.learning_rat: unknown key; did you mean \"learning_rate\""));
  EXPECT_THAT(error({{"train.learning_rate", {-1}}}), HasSubstr("train.learning_rate: found -1"));
  EXPECT_THAT(error({{"train.learning_rate", 0.1}}),
              HasSubstr("sweep.train.learning_rate: found 0.1, expected a list"));
  EXPECT_THAT(error({{"train.seed", Json::array()}}), HasSubstr("sweep.train.seed: found [], expected a list"));
  EXPECT_THAT(error({{"output", {"a", "b"}}}), HasSubstr("sweep.output: this key cannot vary"));
  EXPECT_THAT(error({{"output.deeper", {"a"}}}), HasSubstr("sweep.output.deeper: no such key"));
  EXPECT_THAT(error(Json::array()), HasSubstr("sweep: found an empty list"));
  EXPECT_THAT(error(3), HasSubstr("sweep: found 3, expected an object"));
}

TEST_F(Sweep, JobsThatOnlyDifferWhereABankAllowsShareOne) {
  const SweepConfig sweep = read(Json::array({{{"method",
                                                {{{"type", "lora"}, {"r", 2}},
                                                 {{"type", "lora"}, {"r", 2}, {"lora_alpha", 3}, {"lora_dropout", 0.1}},
                                                 {{"type", "lora"}, {"r", 4}},
                                                 {{"type", "full"}}}},
                                               {"train.seed", {1, 2}}}}));
  // r differs in shape; full trains alone.
  EXPECT_THAT(plan_banks(sweep.runs, 0),
              ElementsAre(ElementsAre(0U, 1U, 2U, 3U), ElementsAre(4U, 5U), ElementsAre(6U), ElementsAre(7U)));
  EXPECT_THAT(plan_banks(sweep.runs, 3), ElementsAre(ElementsAre(0U, 1U, 2U), ElementsAre(3U), ElementsAre(4U, 5U),
                                                     ElementsAre(6U), ElementsAre(7U)));
}

TEST_F(Sweep, ABankFillsAStepAndNoMore) {
  Json seeds = Json::array();
  for (int i = 0; i < 10; ++i) seeds.push_back(i);
  const SweepConfig sweep = read({{"train.seed", seeds}, {"train.batch_size", {64}}});
  const auto banks = plan_banks(sweep.runs, 0);
  ASSERT_EQ(banks.size(), 3U);
  EXPECT_EQ(banks[0].size(), 4U);  // 256 examples / 64
}

Json metrics(double score, const std::string& metric = "accuracy") {
  return {{"task", "t"}, {"best_metric", metric}, {"eval_" + metric, score}, {"trainable_parameters", 5}};
}

TEST_F(Sweep, SummaryHasBestMedianAndSpreadOverSeeds) {
  const SweepConfig sweep = read({{"train.learning_rate", {0.1, 0.2, 0.3}}, {"train.seed", {1, 2, 3, 4}}});
  std::vector<SweepOutcome> outcomes(12);
  for (int i = 0; i < 4; ++i) outcomes[i].metrics = metrics(std::vector{0.5, 0.9, 0.6, 0.7}[i]);
  for (int i = 4; i < 7; ++i) outcomes[i].metrics = metrics(0.8);
  outcomes[7].failure = "diverged";
  const SweepSummary summary = summarise(sweep.runs, outcomes);
  EXPECT_THAT(summary.header, ElementsAre("train.learning_rate", "task", "metric", "runs", "best", "median", "spread",
                                          "trained parameters", "note"));
  ASSERT_EQ(summary.rows.size(), 3U);
  EXPECT_THAT(summary.rows[0], ElementsAre("0.2", "t", "accuracy", "3", "0.8000", "0.8000", "0.0000", "5",
                                           "1 without a score: diverged"));
  // median of .5 .6 .7 .9; standard deviation with n - 1: sqrt(.0875 / 3)
  EXPECT_THAT(summary.rows[1], ElementsAre("0.1", "t", "accuracy", "4", "0.9000", "0.6500", "0.1708", "5", ""));
  EXPECT_EQ(summary.rows[2][3], "0");
  EXPECT_EQ(summary.rows[2][8], "4 without a score");
}

TEST_F(Sweep, SummaryHasTheTestSplitThatAPolicyReports) {
  const SweepConfig sweep =
      read({{"train.learning_rate", {0.1, 0.2}}, {"data.k_shot", {4}}, {"data.k_shot_seed", {1, 2, 3}}});
  std::vector<SweepOutcome> outcomes(6);
  for (std::size_t i = 0; i < 3; ++i) {  // of the first rate, which varies fastest
    outcomes[2 * i].metrics = metrics(0.5);
    outcomes[2 * i].metrics.update({{"split_policy", "dept"}, {"test_accuracy", std::vector{0.2, 0.6, 0.4}[i]}});
  }
  const SweepSummary summary = summarise(sweep.runs, outcomes);
  ASSERT_EQ(summary.rows.size(), 2U) << "which examples are drawn is a seed";
  EXPECT_THAT(summary.header,
              ElementsAre("data.k_shot", "train.learning_rate", "task", "metric", "runs", "best", "median", "spread",
                          "split policy", "test median", "test spread", "trained parameters", "note"));
  EXPECT_THAT(summary.rows[0], ElementsAre("4", "0.1", "t", "accuracy", "3", "0.5000", "0.5000", "0.0000", "dept",
                                           "0.4000", "0.2000", "5", ""));
  EXPECT_THAT(summary.rows[1], ElementsAre("4", "0.2", "", "", "0", "", "", "", "", "", "", "", "3 without a score"));
}

TEST_F(Sweep, OfALossTheSmallestIsBest) {
  const SweepConfig sweep = read({{"train.learning_rate", {0.1, 0.2}}, {"train.seed", {1, 2}}});
  const SweepSummary summary = summarise(
      sweep.runs,
      {{metrics(2.0, "loss"), ""}, {metrics(4.0, "loss"), ""}, {metrics(1.0, "loss"), ""}, {metrics(1.5, "loss"), ""}});
  EXPECT_EQ(summary.rows[0][0], "0.2");
  EXPECT_EQ(summary.rows[0][4], "1.0000");
}

TEST_F(Sweep, SummarySaysWhyARunHasNoScore) {
  const SweepConfig sweep = read({{"train.learning_rate", {0.1, 0.2, 0.3}}});
  Json undefined = metrics(0.0, "loss");
  undefined["eval_loss"] = nullptr;
  const SweepSummary summary =
      summarise(sweep.runs, {{Json::object(), "diverged"}, {undefined, ""}, {{{"trainable_parameters", 5}}, ""}});
  ASSERT_EQ(summary.rows.size(), 3U);
  EXPECT_EQ(summary.rows[0].back(), "1 without a score: diverged");
  EXPECT_EQ(summary.rows[1].back(), "1 without a score: loss is not finite");
  EXPECT_EQ(summary.rows[2].back(), "1 without a score: no dev split");
}

TEST_F(Sweep, AnyValueStaysWithinItsCell) {
  const SweepConfig sweep = read({{"method.target_modules", {"query|value"}}});
  const std::string text = summarise(sweep.runs, {SweepOutcome{Json::object(), "one\ntwo|three"}}).markdown();
  EXPECT_THAT(text, HasSubstr("| query\\|value |"));
  EXPECT_THAT(text, HasSubstr(": one two\\|three |\n"));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3);
}

TEST(SweepSummaryText, CsvQuotesWhatNeedsIt) {
  const SweepSummary summary{{"a", "b"}, {{"x,y", "say \"z\""}}};
  EXPECT_EQ(summary.csv(), "a,b\n\"x,y\",\"say \"\"z\"\"\"\n");
  EXPECT_EQ(summary.markdown(), "| a | b |\n|---|---|\n| x,y | say \"z\" |\n");
}

}  // namespace
}  // namespace peft
