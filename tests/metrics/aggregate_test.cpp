#include "peft/metrics/aggregate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "peft/base/error.h"
#include "peft/metrics/metrics.h"

namespace peft {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// The published rows that the benchmarks' definitions are checked with.
TEST(Aggregate, Glue8IsTheMeanThatPapersPrint) {
  const AggregateResult got =
      aggregate("glue8", {{"a", "mnli", {{"accuracy_matched", 0.850}, {"accuracy_mismatched", 0.1}}},
                          {"b", "qqp", {{"accuracy", 0.904}, {"f1", 0.1}}},
                          {"c", "qnli", {{"accuracy", 0.932}}},
                          {"d", "sst2", {{"accuracy", 0.942}}},
                          {"e", "stsb", {{"pearson", 0.908}, {"spearman", 0.1}}},
                          {"f", "mrpc", {{"accuracy", 0.907}, {"f1", 0.1}}},
                          {"g", "glue/rte", {{"accuracy", 0.791}}},
                          {"h", "cola", {{"mcc", 0.638}, {"accuracy", 0.1}}}});
  EXPECT_NEAR(*got.mean, 0.859, 1e-12);
  EXPECT_TRUE(got.missing.empty());
  EXPECT_EQ(got.tasks.front().score, "accuracy (matched)");
}

TEST(Aggregate, SuperGlue5IsThatOfDept) {
  const AggregateResult got =
      aggregate("superglue5", {{"a", "superglue/multirc", {{"multirc_f1a", 0.743}, {"multirc_em", 0.1}}},
                               {"b", "boolq", {{"accuracy", 0.793}}},
                               {"c", "superglue/wic", {{"accuracy", 0.687}}},
                               {"d", "wsc", {{"accuracy", 0.673}}},
                               {"e", "cb", {{"accuracy", 0.929}, {"macro_f1", 0.1}}}});
  EXPECT_NEAR(*got.mean, 0.765, 1e-12);
}

TEST(Aggregate, MetricsOfATaskAreAveragedFirst) {
  const AggregateResult glue =
      aggregate("glue", {{"a", "mrpc", {{"accuracy", 0.8}, {"f1", 0.9}}},
                         {"b", "mnli", {{"accuracy_matched", 0.6}, {"accuracy_mismatched", 0.7}}}});
  EXPECT_EQ(glue.tasks.size(), 2U);
  EXPECT_NEAR(*glue.mean, (0.85 + 0.65) / 2, 1e-12);
  EXPECT_THAT(glue.missing, ElementsAre("cola", "sst2", "stsb", "qqp", "qnli", "glue/rte", "wnli"));
  const AggregateResult pooled = aggregate("glue", {{"b", "mnli", {{"accuracy", 0.7}}}});
  EXPECT_EQ(pooled.tasks.front().score, "accuracy (whole split)");
}

TEST(Aggregate, SeveralRunsOfATaskAreItsSeeds) {
  const AggregateResult got = aggregate("superglue", {{"a", "copa", {{"accuracy", 0.5}}},
                                                      {"b", "copa", {{"accuracy", 0.8}}},
                                                      {"c", "copa", {{"accuracy", 0.6}}},
                                                      {"d", "wic", {{"accuracy", 0.1}}},
                                                      {"e", "glue/rte", {{"accuracy", 0.9}}}});
  const Spread& spread = got.tasks.front().spread;
  EXPECT_EQ(spread.n, 3);
  EXPECT_NEAR(spread.mean, 1.9 / 3, 1e-12);
  EXPECT_EQ(spread.median, 0.6);
  EXPECT_EQ(spread.minimum, 0.5);
  EXPECT_EQ(spread.maximum, 0.8);
  EXPECT_NEAR(*spread.deviation, 0.15275252316519466, 1e-12);
  EXPECT_FALSE(got.tasks.back().spread.deviation) << "one seed";
  EXPECT_NEAR(*got.mean, (1.9 / 3 + 0.1) / 2, 1e-12) << "of tasks, not of runs";
  EXPECT_THAT(got.others, ElementsAre("e")) << "GLUE's RTE is not SuperGLUE's";
}

TEST(Aggregate, OfNothingIsNothing) {
  const AggregateResult got = aggregate("superglue5", {});
  EXPECT_FALSE(got.mean);
  EXPECT_EQ(got.missing.size(), 5U);
}

TEST(Aggregate, RunsWithoutTheMetricAreNamed) {
  const auto message = [](const std::vector<RunScores>& runs) {
    try {
      aggregate("glue", runs);
    } catch (const DataError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(message({{"runs/x", "mrpc", {{"accuracy", 0.8}}}}), HasSubstr("runs/x: no f1"));
  EXPECT_THAT(message({{"runs/a", "mnli", {{"accuracy", 0.8}}},
                       {"runs/b", "mnli", {{"accuracy_matched", 0.8}, {"accuracy_mismatched", 0.8}}}}),
              HasSubstr("runs/b"));
  EXPECT_THROW(aggregate("glue9", {}), ConfigError);
}

TEST(Aggregate, EveryMetricIsOneOfOurs) {
  for (const std::string& name : aggregates().names())
    for (const AggregateTask& task : aggregates().at(name).tasks)
      for (const TaskScore& score : task.scores)
        for (const std::string& metric : score.metrics)
          EXPECT_TRUE(metric_known(metric) || metric == "accuracy_matched" || metric == "accuracy_mismatched")
              << metric;
}

}  // namespace
}  // namespace peft
