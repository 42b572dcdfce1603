#include "peft/data/dataset.h"

#include <cmath>
#include <set>

#include "fixtures.h"
#include "peft/data/permutation.h"
#include "peft/data/report.h"
#include "peft/data/task.h"

namespace peft {
namespace {

class LoadDataset : public FolderTest {
 protected:
  std::string rows(int n) {
    std::string text = "sentence\tlabel\n";
    for (int i = 0; i < n; ++i) text += "word" + std::to_string(i) + " again\t" + std::to_string(i % 2) + "\n";
    return text;
  }
};

TEST(Tasks, EveryFileOfTheFolderIsRegistered) {
  std::set<std::string> files, names;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(PEFT_SOURCE_DIR) / "src/data/tasks"))
    files.insert(entry.path().stem().string());
  for (std::string name : task_registry().names()) {
    std::replace(name.begin(), name.end(), '/', '_');
    names.insert(name);
  }
  EXPECT_EQ(names, files);
}

TEST_F(LoadDataset, PlainRteIsTheBenchmarksName) {
  EXPECT_EQ(resolve_task_name("rte"), "glue/rte");
  EXPECT_EQ(resolve_task_name("sst2"), "sst2");
  write("train.tsv", rows(2));
  EXPECT_NE(failure<ConfigError>("sst").find("did you mean \"sst2\""), std::string::npos);
}

TEST_F(LoadDataset, PairsHaveTypesAndRowsLieEndToEnd) {
  write("train.jsonl",
        "{\"text\": \"a b\", \"text_pair\": \"c\", \"label\": \"x\", \"idx\": 9}\n{\"text\": \"\", \"label\": \"y\", "
        "\"idx\": 4}\n");
  const EncodedSplit split = load("classification").splits.at("train");
  EXPECT_EQ(split.offsets, (std::vector<int64_t>{0, 6, 8}));
  EXPECT_EQ(split.types, (std::vector<uint8_t>{0, 0, 0, 0, 1, 1, 0, 0}));
  EXPECT_EQ(split.idx, (std::vector<int64_t>{9, 4}));
  EXPECT_EQ(split.labels, (std::vector<double>{0, 1}));
  EXPECT_EQ(split.statistics.empty_texts, 1);
  EXPECT_EQ(split.longest_sequence(), 6);
}

// docs/tasks.md#encoding: (|A|, |B|, room) -> kept.
TEST_F(LoadDataset, PairsAreTruncatedLongestFirst) {
  const std::vector<std::array<int64_t, 5>> table{{10, 10, 8, 4, 4}, {10, 10, 9, 4, 5}, {10, 3, 8, 5, 3},
                                                  {3, 10, 9, 3, 6},  {30, 29, 9, 5, 4}, {29, 30, 9, 4, 5}};
  for (const auto& [a, b, room, kept_a, kept_b] : table) {
    std::string line = "{\"label\": 0, \"text\": \"";
    for (int64_t i = 0; i < a; ++i) line += "w ";
    line += "\", \"text_pair\": \"";
    for (int64_t i = 0; i < b; ++i) line += "w ";
    write("train.jsonl", line + "\"}\n");
    max_length = room + 3;
    const EncodedSplit split = load("classification").splits.at("train");
    EXPECT_EQ(std::count(split.types.begin(), split.types.end(), 0), kept_a + 2);
    EXPECT_EQ(std::count(split.types.begin(), split.types.end(), 1), kept_b + 1);
    EXPECT_EQ(split.statistics.truncated_examples, 1);
    EXPECT_EQ(split.statistics.lost_tokens, a + b - room);
  }
}

TEST_F(LoadDataset, LabelsOfTheTrainSplitAreSortedAndKept) {
  write("train.csv", "text,label\na,10\nb,9\nc,10\n");
  write("dev.csv", "text,label\na,9\n");
  const auto labels_of = [&] { return load("classification", {"dev"}).task.labels; };
  EXPECT_EQ(labels_of(), (std::vector<std::string>{"9", "10"})) << "as numbers";
  write("train.csv", "text,label\na,10\nb,9\nc,x\n");
  EXPECT_EQ(labels_of(), (std::vector<std::string>{"10", "9", "x"})) << "by bytes";
  std::filesystem::remove(folder_ / "train.csv");
  EXPECT_NE(failure<ConfigError>("classification", {"dev"}).find("data.labels: missing"), std::string::npos);
  data.labels = {"9"};
  EXPECT_EQ(load("classification", {"train", "dev"}).splits.size(), 1U) << "no train split: left out";
}

TEST_F(LoadDataset, HiddenTestLabelsMakeThePartPredictOnly) {
  write("test.tsv", "index\tsentence\n5\ta\n3\tb\n");
  const EncodedSplit split = load("sst2", {"test"}).splits.at("test");
  EXPECT_TRUE(split.hidden);
  EXPECT_TRUE(std::isnan(split.labels[0]));
  EXPECT_TRUE(split.statistics.label_counts.empty());
  EXPECT_EQ(split.idx, (std::vector<int64_t>{5, 3}));
}

TEST_F(LoadDataset, LimitTakesTheFirstRowsOfThePermutation) {
  write("train.tsv", rows(50));
  const EncodedSplit all = load("sst2").splits.at("train");
  data.limit.train = 7;
  const EncodedSplit some = load("sst2").splits.at("train");
  const auto order = permutation(50, 42);
  ASSERT_EQ(some.size(), 7);
  for (int64_t row = 0; row < 7; ++row) {
    const int64_t from = order[std::size_t(row)];
    EXPECT_EQ(some.idx[std::size_t(row)], from);
    EXPECT_TRUE(std::ranges::equal(some.sequence_ids(row), all.sequence_ids(from)));
    EXPECT_EQ(some.labels[std::size_t(row)], all.labels[std::size_t(from)]);
  }
  data.limit.train = 50;
  EXPECT_EQ(load("sst2").splits.at("train").idx, all.idx) << "a limit that leaves nothing out changes nothing";
}

TEST_F(LoadDataset, LimitCountsUsableRowsOnly) {
  write("train.tsv", rows(9) + "bad\t7\n" + rows(1).substr(15));
  data.on_bad_row = "skip";
  data.max_bad_fraction = 0.5;
  data.limit.train = 9;
  const EncodedSplit split = load("sst2").splits.at("train");
  EXPECT_EQ(split.size(), 9);
  EXPECT_EQ(split.statistics.skipped, (std::map<std::string, int64_t>{{"label", 1}}));
}

TEST_F(LoadDataset, OverlapCountsRowsWithTheTextsOfATrainRow) {
  write("train.csv", "text,text_pair,label\na,b,0\nab,,0\n");
  write("dev.csv", "text,text_pair,label\na,b,0\nb,a,0\nab,,0\na,b,0\n,ab,0\n");
  const Dataset dataset = load("classification", {"train", "dev"});
  EXPECT_EQ(dataset.splits.at("dev").statistics.overlap_with_train, 3);
  EXPECT_FALSE(dataset.splits.at("train").statistics.overlap_with_train.has_value());
}

TEST_F(LoadDataset, FingerprintFollowsContentAndRulesButNotPaths) {
  write("train.tsv", rows(5));
  const std::string first = load("sst2").fingerprint;
  write("moved/SST-2/train.tsv", rows(5));
  folder_ /= "moved";
  EXPECT_EQ(load("sst2").fingerprint, first);
  max_length = 64;
  EXPECT_NE(load("sst2").fingerprint, first);
  max_length = 128;
  write("SST-2/train.tsv", rows(6));
  EXPECT_NE(load("sst2").fingerprint, first);
  folder_ = folder_.parent_path();
}

TEST_F(LoadDataset, ConfigThatDoesNotFitTheTaskIsRefused) {
  write("train.tsv", rows(2));
  data.labels = {"no", "yes"};
  EXPECT_NE(failure<ConfigError>("sst2").find("data.labels: no, yes; sst2 has the classes negative, positive"),
            std::string::npos);
  data = {};
  data.columns.text = "x";
  EXPECT_NE(failure<ConfigError>("sst2").find("data.columns"), std::string::npos);
  data = {};
  data.delimiter = "";
  EXPECT_NE(failure<ConfigError>("sst2").find("data.delimiter"), std::string::npos);
}

TEST_F(LoadDataset, ReportCountsWhatWasRead) {
  std::string content = rows(100);
  write("train.tsv", content);
  write("dev.tsv", "sentence\tlabel\nword1 again\t1\na b c d e\t0\n");
  max_length = 5;
  const Dataset dataset = load("sst2", {"train", "dev"});
  const Json facts = describe_splits(dataset);
  EXPECT_EQ(facts["train"]["rows"], 100);
  EXPECT_EQ(facts["train"]["labels"], (Json{{"negative", 50}, {"positive", 50}}));
  EXPECT_EQ(facts["dev"]["tokens"], (Json{{"50", 4}, {"90", 5}, {"99", 5}, {"100", 5}}));
  EXPECT_EQ(facts["dev"]["truncated"], 1);
  EXPECT_EQ(facts["dev"]["lost_tokens"], 2);
  EXPECT_EQ(facts["dev"]["overlap_with_train"], 1);
  EXPECT_NE(describe_dataset_text(dataset).find("dev: 2 examples from "), std::string::npos);
}

}  // namespace
}  // namespace peft
