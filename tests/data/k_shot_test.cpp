// A few examples of each class: docs/tasks.md#k-shot.
#include <algorithm>

#include "fixtures.h"
#include "peft/data/permutation.h"
#include "peft/data/report.h"
#include "src/data/k_shot.h"

namespace peft {
namespace {

using Ids = std::vector<int64_t>;

class KShot : public FolderTest {
 protected:
  void write_classes(const std::string& name, const std::vector<int64_t>& counts) {
    std::vector<std::string> rows;
    for (std::size_t c = 0; c < counts.size(); ++c)
      for (int64_t i = 0; i < counts[c]; ++i)
        rows.push_back("w" + std::to_string(i) + "," + std::string(1, char('a' + c)) + "\n");
    std::string text = "text,label\n";
    for (const int64_t i : permutation(int64_t(rows.size()), 3)) text += rows[std::size_t(i)];
    write(name, text);
  }
  EncodedSplit train() { return load("classification", {"train", "dev"}).splits.at("train"); }
};

TEST_F(KShot, TakesTheFirstOfEachClassInTheOrderOfThePermutation) {
  write_classes("train.csv", {20, 30, 10});
  const EncodedSplit whole = train();
  data.split.k_shot = 4;
  data.split.k_shot_seed = 9;
  const EncodedSplit few = train();
  Ids expected, left{4, 4, 4};
  for (const int64_t row : permutation(60, 9))
    if (left[std::size_t(whole.labels[std::size_t(row)])]-- > 0) expected.push_back(row);
  EXPECT_EQ(few.idx, expected);
  EXPECT_EQ(few.statistics.label_counts, (Ids{4, 4, 4}));
  data.split.k_shot_seed = 10;
  EXPECT_NE(train().idx, expected);
}

TEST_F(KShot, TheSeedIs42WhereNobodyGivesOne) {
  write_classes("train.csv", {20, 30});
  data.split.k_shot = 4;
  const Ids unasked = train().idx;
  EXPECT_EQ(describe_policy(load("classification"))["k_shot_seed"], 42);
  data.split.k_shot_seed = 42;
  EXPECT_EQ(train().idx, unasked);
}

TEST_F(KShot, ATotalIsDividedAndTheRemainderGoesToTheFirstFurtherRows) {
  data.split = {.k_shot_total = 8};
  const Ids classes{0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2};
  const auto order = permutation(int64_t(classes.size()), 42);
  const Ids chosen = choose_k_shot(data.split, classes, {"a", "b", "c"}, "file", "train");
  Ids expected, taken{0, 0, 0};
  int64_t further = 2;
  for (const int64_t row : order) {
    auto& count = taken[std::size_t(classes[std::size_t(row)])];
    if (count < 2) {
      ++count;
    } else if (further-- <= 0) {
      continue;
    }
    expected.push_back(row);
  }
  EXPECT_EQ(chosen, expected);
  EXPECT_EQ(chosen.size(), 8U);
}

TEST_F(KShot, DevStaysWholeUnlessAsked) {
  write_classes("train.csv", {20, 30});
  write_classes("dev.csv", {5, 8});
  data.split.k_shot = 2;
  EXPECT_EQ(load("classification", {"train", "dev"}).splits.at("dev").size(), 13);
  data.split.k_shot_dev = true;
  const Dataset dataset = load("classification", {"train", "dev"});
  EXPECT_EQ(dataset.splits.at("dev").statistics.label_counts, (Ids{2, 2}));
  EXPECT_EQ(describe_policy(dataset),
            (Json{{"split_policy", "official"}, {"k_shot", 2}, {"k_shot_seed", 42}, {"k_shot_dev", true}}));
}

TEST_F(KShot, ComesAfterTheSplitPolicy) {
  write_classes("train.csv", {20, 30});
  data.split = {.policy = "holdout", .dev_size = 20};
  const Dataset before = load("classification", {"train", "dev"});
  const EncodedSplit& rest = before.splits.at("train");
  data.split.k_shot = 3;
  const Dataset after = load("classification", {"train", "dev"});
  EXPECT_EQ(after.splits.at("dev").idx, before.splits.at("dev").idx);
  Ids expected, left{3, 3};
  for (const int64_t i : permutation(30, 42))
    if (left[std::size_t(rest.labels[std::size_t(i)])]-- > 0) expected.push_back(rest.idx[std::size_t(i)]);
  EXPECT_EQ(after.splits.at("train").idx, expected);
}

TEST_F(KShot, ScoresOfStsbAreTwoClasses) {
  std::string rows = "sentence1,sentence2,label\n";
  for (const char* score : {"0", "2.5", "2.4", "2.6", "5", "3"}) rows += std::string("a,b,") + score + "\n";
  write("train.csv", rows);
  data.split.k_shot = 3;
  EXPECT_EQ(load("stsb").splits.at("train").size(), 6);
  data.split.k_shot = 2;
  Ids few = load("stsb").splits.at("train").idx;
  EXPECT_EQ(std::count_if(few.begin(), few.end(), [](int64_t row) { return row < 3; }), 2);
  data.split.k_shot = 4;
  EXPECT_EQ(failure("stsb"), "train.csv: the class score <= 2.5 has 3 examples in train, data.k_shot asks for 4");
}

TEST_F(KShot, AChoiceCountsByItsNumber) {
  std::string rows;
  for (int i = 0; i < 8; ++i)
    rows += Json{{"premise", "p"},      {"choice1", "a"}, {"choice2", "b"},
                 {"question", "cause"}, {"idx", i},       {"label", i < 6 ? 0 : 1}}
                .dump() +
            "\n";
  write("COPA/train.jsonl", rows);
  data.split.k_shot = 2;
  EXPECT_EQ(load("copa").splits.at("train").statistics.label_counts, (Ids{2, 2}));
  data.split.k_shot = 3;
  EXPECT_EQ(failure("copa"), "COPA/train.jsonl: the class choice 1 has 2 examples in train, data.k_shot asks for 3");
}

TEST_F(KShot, TooFewRowsAreErrorsThatNameTheClass) {
  write_classes("train.csv", {20, 5});
  write_classes("dev.csv", {1, 9});
  data.split.k_shot = 6;
  EXPECT_EQ(failure("classification", {"train", "dev"}),
            "train.csv: the class b has 5 examples in train, data.k_shot asks for 6");
  data.split = {.k_shot = 2, .k_shot_dev = true};
  EXPECT_EQ(failure("classification", {"train", "dev"}),
            "dev.csv: the class a has 1 examples in dev, data.k_shot asks for 2");
  data.split = {.k_shot_total = 12};
  EXPECT_EQ(failure("classification", {"train", "dev"}),
            "train.csv: the class b has 5 examples in train, data.k_shot_total asks for 6");
  data.split = {.k_shot_total = 1};
  EXPECT_EQ(failure<ConfigError>("classification"),
            "data.k_shot_total: 1; expected at least 2, one example of each class");
  data.labels = {"a", "b", "c"};
  data.split = {.k_shot = 1};
  EXPECT_EQ(failure("classification"), "train.csv: the class c has 0 examples in train, data.k_shot asks for 1");
  data.labels = {};
  write_classes("train.csv", {20});
  EXPECT_EQ(failure("classification"),
            "train.csv: all 20 examples of train have the label a; data.k_shot needs two classes at least");
}

TEST_F(KShot, ATotalAboveTheRowsIsAnError) {
  data.split = {.k_shot_total = 5};
  try {
    choose_k_shot(data.split, Ids{0, 0, 1, 1}, {"a", "b"}, "file", "train");
    FAIL();
  } catch (const DataError& error) {
    EXPECT_STREQ(error.what(), "file: train has 4 examples, data.k_shot_total asks for 5");
  }
}

TEST_F(KShot, ExamplesWithoutOneClassAreRefused) {
  write("train.csv", "text,label\na,1\nb,2\n");
  data.split.k_shot = 1;
  EXPECT_EQ(failure<ConfigError>("regression"),
            "data.k_shot: the examples of regression are not of one class each; data.limit takes rows of any kind");
  data.split = {.k_shot_total = 2};
  write("train.csv", "text,label\na,x|y\nb,x\n");
  EXPECT_EQ(failure<ConfigError>("multi_label").substr(0, 18), "data.k_shot_total:");
  data.split = {.policy = "holdout", .stratify = true};
  EXPECT_EQ(failure<ConfigError>("multi_label").substr(0, 14), "data.stratify:");
}

}  // namespace
}  // namespace peft
