// Which rows train, choose and report: docs/tasks.md#split-policies on small files.
#include "peft/data/split_policy.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "fixtures.h"
#include "peft/data/permutation.h"
#include "peft/data/report.h"

namespace peft {
namespace {

using Ids = std::vector<int64_t>;

class SplitPolicy : public FolderTest {
 protected:
  const std::vector<std::string> all_ = {"train", "dev", "test"};

  /// Rows `word N <tab> label`; the label is N mod 2.
  static std::string sentences(int64_t n, const std::string& word = "w") {
    std::string text = "sentence\tlabel\n";
    for (int64_t i = 0; i < n; ++i) text += word + std::to_string(i) + "\t" + std::to_string(i % 2) + "\n";
    return text;
  }
  static std::string pairs(int64_t n) {
    std::string text = "index\tsentence1\tsentence2\tlabel\n";
    for (int64_t i = 0; i < n; ++i)
      text += std::to_string(i) + "\ta" + std::to_string(i) + "\tb\t" + (i % 3 == 0 ? "entailment" : "not_entailment") +
              "\n";
    return text;
  }
  static Ids first(const Ids& order, std::size_t n) { return {order.begin(), order.begin() + std::ptrdiff_t(n)}; }
  static Ids behind(const Ids& order, std::size_t n) { return {order.begin() + std::ptrdiff_t(n), order.end()}; }
  static Ids counted(int64_t n) {
    Ids ids(static_cast<std::size_t>(n));
    std::iota(ids.begin(), ids.end(), int64_t{0});
    return ids;
  }
  static Ids idx(const Dataset& dataset, const std::string& split) { return dataset.splits.at(split).idx; }
};

TEST_F(SplitPolicy, DeptHalvesAPermutationOfDev) {
  write("RTE/train.tsv", pairs(6));
  write("RTE/dev.tsv", pairs(11));
  write("RTE/test.tsv", "index\tsentence1\tsentence2\n0\ta\tb\n");
  data.split.policy = "dept";
  const Dataset dataset = load("glue/rte", all_);
  const Ids order = permutation(11, 42);
  EXPECT_EQ(idx(dataset, "train"), counted(6));
  EXPECT_EQ(idx(dataset, "dev"), first(order, 5));
  EXPECT_EQ(idx(dataset, "test"), behind(order, 5));
  EXPECT_FALSE(dataset.splits.at("test").hidden) << "not the benchmark's own";
  const Dataset whole = [&] {
    data.split.policy = "official";
    return load("glue/rte", all_);
  }();
  EXPECT_TRUE(whole.splits.at("test").hidden);
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(dataset.splits.at("dev").labels[i], whole.splits.at("dev").labels[std::size_t(order[i])]);
    EXPECT_TRUE(std::ranges::equal(dataset.splits.at("dev").sequence_ids(int64_t(i)),
                                   whole.splits.at("dev").sequence_ids(order[i])));
  }
}

TEST_F(SplitPolicy, AnotherSeedGivesAnotherPermutationAndIsTold) {
  write("RTE/dev.tsv", pairs(40));
  data.split.policy = "dept";
  data.split.seed = 7;
  const Dataset dataset = load("glue/rte", {"dev", "test"});
  EXPECT_EQ(idx(dataset, "dev"), first(permutation(40, 7), 20));
  EXPECT_EQ(describe_policy(dataset), (Json{{"split_policy", "dept"}, {"split_seed", 7}}));
}

TEST_F(SplitPolicy, APartOfAPolicyAloneIsThatOfTheWhole) {
  write("RTE/train.tsv", pairs(6));
  write("RTE/dev.tsv", pairs(11));
  data.split.policy = "dept";
  const Dataset dataset = load("glue/rte", {"test"});
  EXPECT_EQ(dataset.splits.size(), 1U);
  EXPECT_EQ(idx(dataset, "test"), behind(permutation(11, 42), 5));
}

TEST_F(SplitPolicy, OtherRowsThanThePapersAreAWarning) {
  write("RTE/dev.tsv", pairs(11));
  data.split.policy = "dept";
  testing::internal::CaptureStderr();
  load("glue/rte", {"dev", "test"});
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("11 examples, the papers split 277"), std::string::npos) << log;
}

TEST_F(SplitPolicy, UsableRowsAloneArePermuted) {
  write("RTE/dev.tsv", pairs(11) + "11\ta\tb\tperhaps\n12\ta\tb\tentailment\n");
  data.split.policy = "dept";
  data.on_bad_row = "skip";
  data.max_bad_fraction = 0.5;
  const Dataset dataset = load("glue/rte", {"dev", "test"});
  Ids expected = first(permutation(12, 42), 6);
  std::replace(expected.begin(), expected.end(), int64_t{11}, int64_t{12});
  EXPECT_EQ(idx(dataset, "dev"), expected);
  for (const char* split : {"dev", "test"})
    EXPECT_EQ(dataset.splits.at(split).statistics.skipped, (std::map<std::string, int64_t>{{"label", 1}}))
        << "of the file";
}

TEST_F(SplitPolicy, DeptTakesAThousandOfTrain) {
  write("SST-2/train.tsv", sentences(1200));
  write("SST-2/dev.tsv", sentences(9));
  data.split.policy = "dept";
  const Dataset dataset = load("sst2", all_);
  const Ids order = permutation(1200, 42);
  EXPECT_EQ(idx(dataset, "train"), behind(order, 1000));
  EXPECT_EQ(idx(dataset, "dev"), first(order, 1000));
  EXPECT_EQ(idx(dataset, "test"), counted(9));
  write("SST-2/train.tsv", sentences(1000));
  EXPECT_EQ(failure("sst2", all_),
            "SST-2/train.tsv: 1000 examples are too few for data.split_policy dept, which makes two splits of them");
}

TEST_F(SplitPolicy, YelpKeepsAHundredThousandRows) {
  std::string rows;
  for (int64_t i = 0; i < 101'100; ++i) rows += i % 2 == 0 ? "1,a\n" : "2,b\n";
  write("train.csv", rows);
  write("test.csv", "1,a\n2,b\n");
  data.split.policy = "dept";
  const Dataset dataset = load("yelp_polarity", all_);
  const Ids order = permutation(101'100, 42);
  EXPECT_EQ(idx(dataset, "dev"), first(order, 1000));
  EXPECT_EQ(idx(dataset, "train"), first(behind(order, 1000), 100'000));
  EXPECT_EQ(idx(dataset, "test"), counted(2));
  EXPECT_FALSE(dataset.splits.at("test").hidden);
}

TEST_F(SplitPolicy, DeptOfMnliIsMismatchedAndMatched) {
  const auto file = [&](const std::string& name, int n) {
    std::string text = "premise,hypothesis,label,idx\n";
    for (int i = 0; i < n; ++i) text += "p,h,neutral," + std::to_string(i) + "\n";
    write(name + ".csv", text);
  };
  file("train", 3);
  file("dev_matched", 5);
  file("dev_mismatched", 4);
  data.split.policy = "dept";
  const Dataset dataset = load("mnli", all_);
  EXPECT_EQ(dataset.splits.at("train").size(), 3);
  EXPECT_EQ(dataset.splits.at("dev").size(), 4);
  EXPECT_EQ(dataset.splits.at("test").size(), 5);
  EXPECT_TRUE(dataset.splits.at("dev").part_names.empty());
  EXPECT_EQ(failure<ConfigError>("mnli", {"dev_matched"}),
            "unknown split \"dev_matched\"; data.split_policy dept makes train, dev and test");
  data.split.policy = "holdout";
  data.split.dev_size = 1;
  EXPECT_EQ(load("mnli", all_).splits.at("test").part_names, (std::vector<std::string>{"matched", "mismatched"}));
}

TEST_F(SplitPolicy, PawsKeepsItsOwnSplits) {
  for (const std::string name : {"train", "dev", "test"})
    write(name + ".tsv", "id\tsentence1\tsentence2\tlabel\n1\ta\tb\t1\n2\ta\tc\t0\n");
  data.split.policy = "dept";
  const Dataset dataset = load("paws", all_);
  EXPECT_EQ(idx(dataset, "test"), (Ids{1, 2}));
  EXPECT_FALSE(dataset.splits.at("test").hidden);
}

TEST_F(SplitPolicy, HoldoutTakesRowsOfTrainAndReportsDev) {
  write("SST-2/train.tsv", sentences(50));
  write("SST-2/dev.tsv", sentences(7, "d"));
  write("SST-2/test.tsv", "index\tsentence\n0\ta\n");
  data.split.policy = "holdout";
  const Dataset dataset = load("sst2", all_);
  const Ids order = permutation(50, 42);
  Ids rest = behind(order, 5);
  std::sort(rest.begin(), rest.end());
  EXPECT_EQ(idx(dataset, "dev"), first(order, 5)) << "a tenth";
  EXPECT_EQ(idx(dataset, "train"), rest) << "in the order of the file";
  EXPECT_EQ(dataset.splits.at("test").size(), 7);
  EXPECT_FALSE(dataset.splits.at("test").hidden);
  data.split.dev_size = 0.5;
  EXPECT_EQ(load("sst2", all_).splits.at("dev").size(), 25);
  data.split.dev_size = 12;
  EXPECT_EQ(load("sst2", all_).splits.at("dev").size(), 12);
  data.split.dev_size = 0.58;
  EXPECT_EQ(load("sst2", all_).splits.at("dev").size(), 29) << "0.58 * 50 lies below it";
  data.split.dev_size = 0.001;
  EXPECT_EQ(load("sst2", all_).splits.at("dev").size(), 1) << "one row at least";
  data.split.dev_size = 50;
  EXPECT_EQ(failure("sst2", all_),
            "SST-2/train.tsv: 50 examples, data.dev_size holds 50 of them out: none is left to train on");
  data.split.dev_size = 1e30;
  EXPECT_NE(failure("sst2", all_).find("data.dev_size holds 1e+30 of them out"), std::string::npos);
}

TEST_F(SplitPolicy, HoldoutMakesAThousandRowsAtMostUnasked) {
  write("SST-2/train.tsv", sentences(10'010));
  data.split.policy = "holdout";
  EXPECT_EQ(load("sst2", {"train", "dev"}).splits.at("dev").size(), 1000);
}

TEST_F(SplitPolicy, HoldoutSplitsOneFile) {
  const std::string file = write("reviews.csv", "text,label\na,x\nb,y\nc,x\nd,y\n");
  data.split.policy = "holdout";
  const Dataset dataset = load_dataset({"classification", file, 32}, data, WordTokenizer(), all_);
  EXPECT_EQ(dataset.splits.at("train").size(), 3);
  EXPECT_EQ(dataset.splits.at("dev").size(), 1);
  EXPECT_FALSE(dataset.splits.contains("test"));
}

TEST_F(SplitPolicy, StratifiedRowsHaveTheSharesOfTheClasses) {
  std::string rows = "text,label\n";
  for (int i = 0; i < 100; ++i)
    rows += "w" + std::to_string(i) + (i % 20 == 0 ? ",rare" : i % 4 == 0 ? ",some" : ",most") + "\n";
  write("train.csv", rows);
  data.labels = {"most", "some", "rare"};
  data.split.policy = "holdout";
  data.split.stratify = true;
  data.split.dev_size = 20;
  const Dataset dataset = load("classification", {"train", "dev"});
  EXPECT_EQ(dataset.splits.at("dev").statistics.label_counts, (Ids{15, 4, 1}));
  EXPECT_EQ(dataset.splits.at("train").statistics.label_counts, (Ids{60, 16, 4}));
  data.split.dev_size = 21;  // 15.75, 4.2, 1.05: the largest remainder gets the odd row
  EXPECT_EQ(load("classification", {"train", "dev"}).splits.at("dev").statistics.label_counts, (Ids{16, 4, 1}));
}

TEST_F(SplitPolicy, FilesAloneDecideWithTheirPolicy) {
  write("SST-2/train.tsv", sentences(5));
  write("SST-2/dev.tsv", sentences(6));
  data.split.policy = "files";
  EXPECT_EQ(failure<ConfigError>("sst2"),
            "data.split_policy: files takes the splits from data.files, which names none");
  data.files = {{"train", write("a.tsv", sentences(3))}, {"test", write("b.tsv", sentences(4))}};
  const Dataset dataset = load("sst2", all_);
  EXPECT_EQ(dataset.splits.at("train").size(), 3);
  EXPECT_EQ(dataset.splits.at("test").size(), 4);
  EXPECT_FALSE(dataset.splits.contains("dev")) << "that of the folder is not named";
}

TEST_F(SplitPolicy, ATestFileMayLookLikeADevFile) {
  const std::string bom = "\xEF\xBB\xBF", header = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n";
  data.split.policy = "files";
  data.files = {{"test", write("msr_paraphrase_test.txt", bom + header + "1\t5\t6\ta b\tc\r\n0\t7\t8\ta\tc\r\n")}};
  const EncodedSplit test = load("mrpc", {"test"}).splits.at("test");
  EXPECT_FALSE(test.hidden);
  EXPECT_EQ(test.idx, counted(2));
  EXPECT_EQ(test.labels, (std::vector<double>{1, 0}));
  data.files = {{"test", write("test.tsv", "#1 String\t#2 String\na\tb\n")}};
  EXPECT_EQ(failure("mrpc", {"test"}),
            "test.tsv:1: header #1 String, #2 String; expected index, #1 ID, #2 ID, #1 String, #2 String");
}

TEST_F(SplitPolicy, StatisticsAreThoseOfThePart) {
  std::string rows = "text,label\n";
  for (int i = 0; i < 40; ++i)
    rows += (i % 8 == 0 ? "" : i % 2 == 0 ? "a b c d e f g h" : "a") + std::string(i % 4 == 0 ? ",x\n" : ",y\n");
  write("train.csv", rows);
  max_length = 6;
  const SplitStatistics whole = load("classification").splits.at("train").statistics;
  data.split.policy = "holdout";
  data.split.dev_size = 0.3;
  const Dataset dataset = load("classification", {"train", "dev"});
  const SplitStatistics &train = dataset.splits.at("train").statistics, &dev = dataset.splits.at("dev").statistics;
  for (const auto count :
       {&SplitStatistics::truncated_examples, &SplitStatistics::lost_tokens, &SplitStatistics::empty_texts}) {
    EXPECT_EQ(train.*count + dev.*count, whole.*count);
    EXPECT_GT(dev.*count, 0);
  }
  for (std::size_t id = 0; id < 2; ++id)
    EXPECT_EQ(train.label_counts[id] + dev.label_counts[id], whole.label_counts[id]);
  EXPECT_EQ(dev.overlap_with_train, 12) << "the same few texts";
}

TEST_F(SplitPolicy, LimitsCountFromTheSplitThatIsMade) {
  write("RTE/train.tsv", pairs(6));
  write("RTE/dev.tsv", pairs(40));
  data.split.policy = "dept";
  data.limit = {.train = 2, .dev = 3, .test = 100};
  const Dataset dataset = load("glue/rte", all_);
  const Ids half = first(permutation(40, 42), 20), order = permutation(20, 42);
  EXPECT_EQ(idx(dataset, "train"), first(permutation(6, 42), 2));
  EXPECT_EQ(idx(dataset, "dev"),
            (Ids{half[std::size_t(order[0])], half[std::size_t(order[1])], half[std::size_t(order[2])]}));
  EXPECT_EQ(dataset.splits.at("test").size(), 20);
}

TEST_F(SplitPolicy, FingerprintFollowsThePolicyAndWhatARunReads) {
  write("SST-2/train.tsv", sentences(50));
  write("SST-2/dev.tsv", sentences(7, "d"));
  const auto fingerprint = [&](const std::vector<std::string>& splits) { return load("sst2", splits).fingerprint; };
  const std::string run = fingerprint({"train", "dev"});
  write("SST-2/test.tsv", "index\tsentence\n0\ta\n");
  EXPECT_EQ(fingerprint(all_), run) << "no run reads the hidden test split";
  std::set<std::string> distinct{run};
  data.split.policy = "holdout";
  distinct.insert(fingerprint(all_));
  data.split.seed = 1;
  distinct.insert(fingerprint(all_));
  data.split.dev_size = 7;
  distinct.insert(fingerprint(all_));
  data.split = {.k_shot = 3};
  distinct.insert(fingerprint({"train", "dev"}));
  data.split.k_shot_seed = 5;
  distinct.insert(fingerprint({"train", "dev"}));
  EXPECT_EQ(distinct.size(), 6U);
  EXPECT_EQ(run_splits({}), (std::vector<std::string>{"train", "dev"}));
  EXPECT_EQ(run_splits({.policy = "dept"}), all_);
}

TEST_F(SplitPolicy, KeysThatContradictEachOtherAreRefused) {
  write("SST-2/train.tsv", sentences(50));
  write("SST-2/dev.tsv", sentences(7));
  const auto refused = [&](const SplitConfig& split, const std::string& task = "sst2") {
    data.split = split;
    return failure<ConfigError>(task, {"train", "dev"});
  };
  EXPECT_EQ(refused({.dev_size = 5}), "data.dev_size: only with data.split_policy \"holdout\"");
  EXPECT_EQ(refused({.policy = "dept", .stratify = true}), "data.stratify: only with data.split_policy \"holdout\"");
  EXPECT_EQ(refused({.seed = 1}), "data.split_seed: only with data.split_policy \"dept\" or \"holdout\"");
  EXPECT_EQ(refused({.policy = "holdout", .dev_size = 1.5}),
            "data.dev_size: 1.5; expected a whole number of rows, or a share below 1");
  EXPECT_EQ(refused({.policy = "holdout", .dept_group_multirc = true}),
            "data.dept_group_multirc: only with data.split_policy \"dept\"");
  EXPECT_EQ(refused({.policy = "dept", .dept_group_multirc = true}),
            "data.dept_group_multirc: sst2 has no passages with several rows; only multirc has");
  EXPECT_EQ(refused({.dept_metrics = true}).substr(0, 44), "data.dept_metrics: sst2 has the same metrics");
  EXPECT_EQ(refused({.k_shot_seed = 1}), "data.k_shot_seed: only with data.k_shot or data.k_shot_total");
  EXPECT_EQ(refused({.k_shot_dev = true}), "data.k_shot_dev: only with data.k_shot or data.k_shot_total");
  EXPECT_EQ(refused({.k_shot = 1, .k_shot_total = 2}), "data.k_shot_total: stands in place of data.k_shot, found both");
  EXPECT_NE(refused({.policy = "dept"}, "classification")
                .find("data.split_policy: dept says nothing of classification; it splits cola"),
            std::string::npos);
  data.limit.train = 5;
  EXPECT_EQ(refused({.k_shot = 1}), "data.limit.train: train is made by data.k_shot; expected one of them");
  data.limit = {.dev = 5};
  EXPECT_EQ(refused({.k_shot = 1}), "");
  EXPECT_EQ(refused({.k_shot_total = 2, .k_shot_dev = true}),
            "data.limit.dev: dev is made by data.k_shot_total; expected one of them");
}

}  // namespace
}  // namespace peft
