// The real dumps, where they are: PEFT_DATA names the folder that holds glue/ and superglue/
// (docs/tasks.md#tasks-of-glue).
#include <cstdlib>

#include "fixtures.h"
#include "peft/data/task.h"

namespace peft {
namespace {

struct Expected {
  std::string task, split;
  int64_t rows;
  std::vector<int64_t> labels;  // in id order; empty: hidden or scores
};

class Dumps : public testing::TestWithParam<Expected> {
 protected:
  void SetUp() override {
    const char* root = std::getenv("PEFT_DATA");
    const std::string name = resolve_task_name(GetParam().task);
    const std::string benchmark = name.starts_with("superglue/") ? "superglue" : "glue";
    if (root != nullptr) folder_ = std::filesystem::path(root) / benchmark;
    if (folder_.empty() || !std::filesystem::is_directory(folder_))
      GTEST_SKIP() << "set PEFT_DATA to the folder that holds the dumps in " << benchmark << "/";
  }
  Dataset load(const std::string& task, const std::vector<std::string>& splits) {
    const TaskConfig config{task, folder_.string(), 128};
    const DataConfig data;
    return load_dataset(config, data, WordTokenizer(), splits);
  }
  std::filesystem::path folder_;
};

TEST_P(Dumps, HaveTheKnownRowsAndLabels) {
  const Expected& expected = GetParam();
  const EncodedSplit split = load(expected.task, {expected.split}).splits.at(expected.split);
  EXPECT_EQ(split.size(), expected.rows);
  EXPECT_EQ(split.statistics.label_counts, expected.labels);
  EXPECT_TRUE(split.statistics.skipped.empty());
  EXPECT_EQ(split.hidden, expected.split == "test");
  for (int64_t row = 0; split.hidden && row < split.size(); ++row)
    ASSERT_EQ(split.idx[static_cast<std::size_t>(row)], row);
}

INSTANTIATE_TEST_SUITE_P(
    Glue, Dumps,
    testing::Values(Expected{"cola", "train", 8551, {2528, 6023}}, Expected{"cola", "dev", 1043, {322, 721}},
                    Expected{"cola", "test", 1063, {}}, Expected{"sst2", "train", 67349, {29780, 37569}},
                    Expected{"sst2", "dev", 872, {428, 444}}, Expected{"sst2", "test", 1821, {}},
                    Expected{"mrpc", "train", 3668, {1194, 2474}}, Expected{"mrpc", "dev", 408, {129, 279}},
                    Expected{"mrpc", "test", 1725, {}}, Expected{"stsb", "train", 5749, {}},
                    Expected{"stsb", "dev", 1500, {}}, Expected{"stsb", "test", 1379, {}},
                    Expected{"qnli", "dev", 5463, {2702, 2761}}, Expected{"qnli", "test", 5463, {}},
                    Expected{"rte", "train", 2490, {1249, 1241}}, Expected{"rte", "dev", 277, {146, 131}},
                    Expected{"rte", "test", 3000, {}}, Expected{"wnli", "train", 635, {323, 312}},
                    Expected{"wnli", "dev", 71, {40, 31}}, Expected{"wnli", "test", 146, {}}),
    [](const auto& instance) { return instance.param.task + "_" + instance.param.split; });

INSTANTIATE_TEST_SUITE_P(SuperGlue, Dumps,
                         testing::Values(Expected{"copa", "train", 400, {195, 205}},
                                         Expected{"copa", "dev", 100, {55, 45}}, Expected{"copa", "test", 500, {}}),
                         [](const auto& instance) { return instance.param.task + "_" + instance.param.split; });

class DumpFacts : public Dumps {};

TEST_P(DumpFacts, OverlapOfDevWithTrain) {
  const Dataset dataset = load(GetParam().task, {"train", "dev"});
  EXPECT_EQ(dataset.splits.at("dev").statistics.overlap_with_train, GetParam().rows);
}

INSTANTIATE_TEST_SUITE_P(Overlap, DumpFacts,
                         testing::Values(Expected{"cola", "", 16, {}}, Expected{"stsb", "", 6, {}},
                                         Expected{"sst2", "", 0, {}}, Expected{"mrpc", "", 0, {}},
                                         Expected{"rte", "", 0, {}}, Expected{"wnli", "", 0, {}}),
                         [](const auto& instance) { return instance.param.task; });

}  // namespace
}  // namespace peft
