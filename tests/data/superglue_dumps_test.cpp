// The real dumps of SuperGLUE and of AX, where they are: PEFT_DATA names the folder that holds glue/ and superglue/.
// Numbers that were counted by other programs.
#include <cstdlib>
#include <set>

#include "fixtures.h"
#include "peft/data/examples.h"
#include "peft/data/split_files.h"
#include "peft/data/task.h"
#include "peft/metrics/metrics.h"

namespace peft {
namespace {

struct Known {
  std::string task, split;
  int64_t rows;
  std::vector<int64_t> labels;  // in id order; empty: hidden
};

class BenchmarkDumps : public testing::Test {
 protected:
  void SetUp() override {
    const char* root = std::getenv("PEFT_DATA");
    if (root != nullptr) folder_ = root;
    if (folder_.empty() || !std::filesystem::is_directory(folder_ / "superglue"))
      GTEST_SKIP() << "set PEFT_DATA to the folder that holds the dumps in glue/ and superglue/";
  }
  EncodedSplit read(const std::string& task, const std::string& split) {
    const std::string benchmark = resolve_task_name(task).starts_with("superglue/") ? "superglue" : "glue";
    return load_dataset({task, (folder_ / benchmark).string(), 512}, {}, WordTokenizer(), {split}).splits.at(split);
  }
  /// A metric of the predictor that always answers with one class.
  static double constant(const std::string& metric, const EncodedSplit& split, double answer, int64_t classes) {
    return compute_metric(metric,
                          {std::vector<double>(split.labels.size(), answer), split.labels, split.groups, classes})
        .value;
  }
  std::filesystem::path folder_;
};

TEST_F(BenchmarkDumps, HaveTheKnownRowsAndLabels) {
  const std::vector<Known> all{
      {"ax", "test", 1104, {}},
      {"boolq", "dev", 3270, {1237, 2033}},
      {"boolq", "test", 3245, {}},
      {"cb", "train", 250, {115, 119, 16}},
      {"cb", "dev", 56, {23, 28, 5}},
      {"cb", "test", 250, {}},
      {"multirc", "train", 27243, {15218, 12025}},
      {"multirc", "dev", 4848, {2773, 2075}},
      {"multirc", "test", 9693, {}},
      {"superglue/rte", "train", 2490, {1249, 1241}},
      {"superglue/rte", "dev", 277, {146, 131}},
      {"superglue/rte", "test", 3000, {}},
      {"wic", "train", 5428, {2714, 2714}},
      {"wic", "dev", 638, {319, 319}},
      {"wic", "test", 1400, {}},
      {"wsc", "train", 554, {295, 259}},
      {"wsc", "dev", 104, {66, 38}},
      {"wsc", "test", 146, {}},
      {"axb", "test", 1104, {460, 644}},
      {"axg", "test", 356, {178, 178}},
  };
  for (const Known& known : all) {
    const EncodedSplit split = read(known.task, known.split);
    const std::string what = known.task + " " + known.split;
    EXPECT_EQ(split.size(), known.rows) << what;
    EXPECT_EQ(split.statistics.label_counts, known.labels) << what;
    EXPECT_TRUE(split.statistics.skipped.empty()) << what;
    EXPECT_EQ(split.hidden, known.labels.empty()) << what;
    for (int64_t row = 0; row < split.size(); ++row) ASSERT_EQ(split.idx[static_cast<std::size_t>(row)], row) << what;
  }
}

TEST_F(BenchmarkDumps, RteIsTheTaskOfTheFilesFound) {
  for (const std::string benchmark : {"glue", "superglue"}) {
    const TaskConfig task{"rte", (folder_ / benchmark).string(), 128};
    EXPECT_EQ(load_dataset(task, {}, WordTokenizer(), {"dev"}).task.name, benchmark + "/rte");
  }
}

// SuperGLUE's copy of RTE lost quotes: apart from them, its texts and labels are those of GLUE.
TEST_F(BenchmarkDumps, RteOfSuperGlueIsThatOfGlueButForQuotes) {
  const auto rows = [&](const std::string& benchmark, const std::string& split) {
    const std::string name = benchmark + "/rte";
    const TaskSpec& spec = task_registry().at(name);
    const DataConfig data;
    const auto files = find_split_files(spec, {name, (folder_ / benchmark).string()}, data, {split});
    ExampleReader reader({spec, data, split, files.at(split), spec.labels});
    std::vector<std::string> all;
    for (Example example; reader.next(example);)
      all.push_back(fmt::format("{}\t{}\t{}", example.texts[0], example.texts[1], std::get<int64_t>(example.target)));
    return all;
  };
  const auto without_quotes = [](std::string text) {
    std::erase(text, '"');
    return text;
  };
  for (const auto& [split, known] : {std::pair<const char*, int64_t>{"train", 70}, {"dev", 6}}) {
    const auto glue = rows("glue", split), superglue = rows("superglue", split);
    ASSERT_EQ(glue.size(), superglue.size());
    int64_t different = 0;
    for (std::size_t i = 0; i < glue.size(); ++i) {
      different += glue[i] != superglue[i] ? 1 : 0;
      EXPECT_EQ(without_quotes(glue[i]), without_quotes(superglue[i]));
    }
    EXPECT_EQ(different, known) << split;
  }
}

TEST_F(BenchmarkDumps, MultircHasItsPassagesAndQuestions) {
  const std::map<std::string, std::pair<std::size_t, std::size_t>> counts{
      {"train", {456, 5131}}, {"dev", {83, 953}}, {"test", {166, 1820}}};
  for (const auto& [split, expected] : counts) {
    const EncodedSplit read_split = read("multirc", split);
    std::set<int64_t> passages, questions;
    for (int64_t e = 0; e < read_split.size(); ++e) {
      const auto outer = read_split.example_outer_idx(e);
      ASSERT_EQ(outer.size(), 2U);
      passages.insert(outer[0]);
      questions.insert(outer[1]);
      EXPECT_EQ(outer[1], read_split.groups[static_cast<std::size_t>(e)]);
    }
    EXPECT_EQ(std::pair(passages.size(), questions.size()), expected) << split;
  }
}

TEST_F(BenchmarkDumps, WscSpansAreFoundAtTheirIndexButForTwo) {
  using Odd = std::map<std::string, int64_t>;
  EXPECT_EQ(read("wsc", "train").statistics.odd, Odd{});
  EXPECT_EQ(read("wsc", "dev").statistics.odd, Odd{});
  EXPECT_EQ(read("wsc", "test").statistics.odd, (Odd{{"span_mismatch", 2}}));
}

TEST_F(BenchmarkDumps, AxgPairsAreNeighbours) {
  const EncodedSplit split = read("axg", "test");
  for (int64_t row = 0; row < 356; ++row) EXPECT_EQ(split.groups[static_cast<std::size_t>(row)], row / 2);
}

TEST_F(BenchmarkDumps, AConstantAnswerHasTheKnownScores) {
  const EncodedSplit cb = read("cb", "dev"), multirc = read("multirc", "dev"), axg = read("axg", "test");
  EXPECT_NEAR(constant("accuracy", cb, 1, 3), 0.5, 1e-12);
  EXPECT_NEAR(constant("macro_f1", cb, 1, 3), 0.2222, 5e-5);
  EXPECT_NEAR(constant("accuracy", read("boolq", "dev"), 1, 2), 0.6217, 5e-5);
  EXPECT_NEAR(constant("accuracy", read("wsc", "dev"), 0, 2), 0.6346, 5e-5);
  EXPECT_NEAR(constant("accuracy", read("wic", "dev"), 0, 2), 0.5, 1e-12);
  EXPECT_NEAR(constant("multirc_f1a", multirc, 1, 2), 2 * 2075.0 / (2075 + 4848), 1e-12);
  EXPECT_NEAR(constant("multirc_em", multirc, 1, 2), 8.0 / 953, 1e-12);
  EXPECT_NEAR(constant("gender_parity", axg, 0, 2), 1.0, 1e-12);
  EXPECT_NEAR(constant("accuracy", axg, 0, 2), 0.5, 1e-12);
}

}  // namespace
}  // namespace peft
