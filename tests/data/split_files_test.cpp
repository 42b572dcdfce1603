#include "peft/data/split_files.h"

#include "fixtures.h"

namespace peft {
namespace {

class SplitFiles : public FolderTest {
 protected:
  std::string find(const std::string& task, const std::string& split = "train", const std::string& below = "") {
    const auto files = find_split_files(task_registry().at(task), {task, (folder_ / below).string()}, data, {split});
    const auto found = files.find(split);
    return found == files.end() ? "" : std::filesystem::relative(found->second.path, folder_).string();
  }
  template <class E = DataError>
  std::string message(const std::string& task, const std::string& below = "") {
    try {
      find(task, "train", below);
    } catch (const E& error) {
      return error.what();
    }
    return {};
  }
};

TEST_F(SplitFiles, TaskFolderOrItsParentInAnyCase) {
  write("sst-2/train.tsv", "");
  EXPECT_EQ(find("sst2", "train", "sst-2"), "sst-2/train.tsv");
  EXPECT_EQ(find("sst2"), "sst-2/train.tsv");
}

TEST_F(SplitFiles, DevHasFiveSpellings) {
  for (const char* name : {"dev", "val", "valid", "validation", "eval"}) {
    SetUp();
    write(std::string(name) + ".jsonl", "");
    EXPECT_EQ(find("classification", "dev"), std::string(name) + ".jsonl");
    EXPECT_EQ(canonical_split(name), "dev");
  }
  EXPECT_THROW(canonical_split("training"), ConfigError);
}

TEST_F(SplitFiles, TwoShapesOfASplitNeedAFormat) {
  write("train.tsv", "");
  write("train.csv", "");
  const std::string text = message("sst2");
  EXPECT_NE(text.find("train.tsv and train.csv both hold the split train"), std::string::npos) << text;
  data.format = "csv";
  EXPECT_EQ(find("sst2"), "train.csv");
}

TEST_F(SplitFiles, MissingFolderTellsWhatIsThere) {
  write("other.txt", "");
  EXPECT_NE(message("sst2", "nowhere").find("no such file or folder; " + folder_.string() + " holds other.txt"),
            std::string::npos);
  const std::string text = message("sst2");
  const std::string expected = "train.tsv, train.jsonl, train.json, train.csv, train.parquet or a folder SST-2";
  EXPECT_NE(text.find("expected " + expected + "; found other.txt"), std::string::npos) << text;
}

TEST_F(SplitFiles, FolderWhereAFileIsExpected) {
  data.files["train"] = folder_.string();
  EXPECT_EQ(message("sst2"), folder_.string() + ": a folder, expected a file");
}

TEST_F(SplitFiles, SameFileForTwoSplits) {
  write("a.csv", "");
  data.files = {{"train", (folder_ / "a.csv").string()}, {"dev", (folder_ / "." / "a.csv").string()}};
  EXPECT_NE(message("classification").find("given for both dev and train"), std::string::npos);
}

TEST_F(SplitFiles, SplitGivenTwiceOrUnknownIsAConfigError) {
  write("a.csv", "");
  write("b.csv", "");
  data.files = {{"val", (folder_ / "a.csv").string()}, {"dev", (folder_ / "b.csv").string()}};
  EXPECT_NE(message<ConfigError>("classification").find("given twice"), std::string::npos);
  data.files = {{"training", (folder_ / "a.csv").string()}};
  EXPECT_NE(message<ConfigError>("classification").find("unknown split \"training\""), std::string::npos);
}

TEST_F(SplitFiles, OneFileIsTheOnlySplitAskedFor) {
  write("a.csv", "");
  const TaskSpec& spec = task_registry().at("classification");
  const TaskConfig task{"classification", (folder_ / "a.csv").string()};
  EXPECT_TRUE(find_split_files(spec, task, data, {"test"}).contains("test"));
  EXPECT_THROW(find_split_files(spec, task, data, {"train", "dev"}), ConfigError);
}

}  // namespace
}  // namespace peft
