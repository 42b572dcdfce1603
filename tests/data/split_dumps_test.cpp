// Splits of the real dumps with known counts (docs/tasks.md#split-policies), where the dumps are: PEFT_DATA names the
// folder that holds glue/ and superglue/.
#include <cstdlib>
#include <map>
#include <numeric>
#include <set>

#include "fixtures.h"
#include "peft/data/task.h"

namespace peft {
namespace {

using Ids = std::vector<int64_t>;

struct KnownSplit {
  std::string task;
  bool has_train;  // is it among the dumps at hand?
  Ids first;       // rows of the file that come first in dev
  Ids sizes;       // train, dev, test
  Ids dev, test;   // examples of each class; empty: scores
};

class SplitDumps : public testing::TestWithParam<KnownSplit> {
 protected:
  void SetUp() override {
    const char* root = std::getenv("PEFT_DATA");
    const std::string name = resolve_task_name(GetParam().task);
    const std::string benchmark = name.starts_with("superglue/") ? "superglue" : "glue";
    if (root != nullptr) folder_ = std::filesystem::path(root) / benchmark;
    if (folder_.empty() || !std::filesystem::is_directory(folder_))
      GTEST_SKIP() << "set PEFT_DATA to the folder that holds the dumps in " << benchmark << "/";
  }
  Dataset load(DataConfig data) {
    std::vector<std::string> splits{"dev", "test"};
    if (GetParam().has_train) splits.insert(splits.begin(), "train");
    data.split.policy = "dept";
    return load_dataset({GetParam().task, folder_.string(), 128}, data, WordTokenizer(), splits);
  }
  std::filesystem::path folder_;
};

TEST_P(SplitDumps, HaveTheSizesOfThePapers) {
  const KnownSplit& known = GetParam();
  testing::internal::CaptureStderr();
  const Dataset dataset = load({});
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "") << "no warning";
  const EncodedSplit &dev = dataset.splits.at("dev"), &test = dataset.splits.at("test");
  if (known.has_train) {
    EXPECT_EQ(dataset.splits.at("train").size(), known.sizes[0]);
  }
  EXPECT_EQ(dev.size(), known.sizes[1]);
  EXPECT_EQ(test.size(), known.sizes[2]);
  if (!known.first.empty()) {
    EXPECT_EQ((Ids{dev.idx.begin(), dev.idx.begin() + 6}), known.first);
  }
  if (!known.dev.empty()) {
    EXPECT_EQ(dev.statistics.label_counts, known.dev);
  }
  if (!known.test.empty()) {
    EXPECT_EQ(test.statistics.label_counts, known.test);
  }
  EXPECT_FALSE(test.hidden);
}

// Ids of the rows are their numbers in all of these files.
INSTANTIATE_TEST_SUITE_P(
    Dept, SplitDumps,
    testing::Values(
        KnownSplit{"glue/rte", true, {207, 84, 253, 243, 190, 28}, {2490, 138, 139}, {70, 68}, {76, 63}},
        KnownSplit{"superglue/rte", true, {207, 84, 253, 243, 190, 28}, {2490, 138, 139}, {70, 68}, {76, 63}},
        KnownSplit{"mrpc", true, {30, 63, 342, 322, 6, 302}, {3668, 204, 204}, {64, 140}, {65, 139}},
        KnownSplit{"cola", true, {911, 408, 813, 657, 710, 526}, {8551, 521, 522}, {163, 358}, {159, 363}},
        KnownSplit{"stsb", true, {42, 340, 1028, 766, 1150, 1160}, {5749, 750, 750}, {}, {}},
        KnownSplit{"cb", true, {22, 8, 36, 39, 34, 28}, {250, 28, 28}, {12, 13, 3}, {11, 15, 2}},
        KnownSplit{"copa", true, {}, {400, 50, 50}, {}, {}},
        KnownSplit{"wic", true, {292, 360, 246, 12, 52, 100}, {5428, 319, 319}, {156, 163}, {163, 156}},
        KnownSplit{"wsc", true, {70, 20, 30, 58, 2, 0}, {554, 52, 52}, {31, 21}, {35, 17}},
        KnownSplit{"boolq", false, {282, 3153, 2578, 2833, 2504, 90}, {9427, 1635, 1635}, {611, 1024}, {626, 1009}},
        KnownSplit{
            "multirc", true, {3270, 1987, 3664, 967, 3242, 1717}, {27243, 2424, 2424}, {1369, 1055}, {1404, 1020}},
        KnownSplit{
            "sst2", true, {6677, 49712, 38268, 32909, 23395, 66940}, {66349, 1000, 872}, {447, 553}, {428, 444}}),
    [](const auto& instance) {
      std::string name = instance.param.task;
      std::replace(name.begin(), name.end(), '/', '_');
      return name;
    });

class SplitScores : public SplitDumps {};

TEST_P(SplitScores, SumUpAsKnown) {
  const Dataset dataset = load({});
  const auto sum = [&](const char* split) {
    const auto& scores = dataset.splits.at(split).labels;
    return std::accumulate(scores.begin(), scores.end(), 0.0);
  };
  EXPECT_NEAR(sum("dev"), 1788.4363, 1e-3);
  EXPECT_NEAR(sum("test"), 1757.4250, 1e-3);
}

INSTANTIATE_TEST_SUITE_P(Dept, SplitScores, testing::Values(KnownSplit{"stsb", false, {}, {}, {}, {}}));

class WholePassages : public SplitDumps {};

TEST_P(WholePassages, OfMultircAreHalved) {
  DataConfig data;
  data.split.dept_group_multirc = true;
  const Dataset dataset = load(data);
  std::map<std::string, std::set<int64_t>> passages;
  for (const std::string split : {"dev", "test"})
    for (int64_t e = 0; e < dataset.splits.at(split).size(); ++e)
      passages[split].insert(dataset.splits.at(split).example_outer_idx(e)[0]);
  EXPECT_EQ(passages["dev"].size(), 41U);
  EXPECT_EQ(passages["test"].size(), 42U);
  EXPECT_EQ(dataset.splits.at("dev").size() + dataset.splits.at("test").size(), 4848);
}

INSTANTIATE_TEST_SUITE_P(Dept, WholePassages, testing::Values(KnownSplit{"multirc", false, {}, {}, {}, {}}));

class FewShots : public SplitDumps {};

TEST_P(FewShots, HaveAsManyOfEachClass) {
  DataConfig data;
  data.split.k_shot = 8;
  EXPECT_EQ(load(data).splits.at("train").statistics.label_counts, (Ids{8, 8, 8}));
  data.split = {.k_shot_total = 16};
  const Ids counts = load(data).splits.at("train").statistics.label_counts;
  EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), int64_t{0}), 16);
  for (const int64_t count : counts) EXPECT_TRUE(count == 5 || count == 6);
}

INSTANTIATE_TEST_SUITE_P(Dept, FewShots, testing::Values(KnownSplit{"cb", true, {}, {}, {}, {}}));

}  // namespace
}  // namespace peft
