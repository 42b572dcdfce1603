// Where splits in files of the datasets library lie (docs/tasks.md#finding-files). What is in them is tested by
// tests/oracle/parquet_test.py.
#include "fixtures.h"
#include "peft/data/split_files.h"

namespace peft {
namespace {

class ParquetFiles : public FolderTest {
 protected:
  /// The files of a split, "" where there is none.
  std::string find(const std::string& split = "train", const std::string& below = "") {
    const auto files =
        find_split_files(task_registry().at("sst2"), {"sst2", (folder_ / below).string()}, data, {split});
    const auto found = files.find(split);
    if (found == files.end()) return "";
    format_ = found->second.format;
    std::string list = inside(found->second.path);
    for (const auto& more : found->second.more) list += " " + inside(more);
    return list;
  }
  template <class E = DataError>
  std::string message(const std::string& below = "") {
    try {
      return "found " + find("train", below);
    } catch (const E& error) {
      std::string text = error.what();
      for (std::size_t at; (at = text.find(folder_.string() + "/")) != std::string::npos;)
        text.erase(at, folder_.string().size() + 1);
      return text;
    }
  }
  /// A folder as save_to_disk writes it.
  void save(const std::string& name, int shards = 1) {
    std::string files;
    for (int i = 0; i < shards; ++i) {
      const std::string file = fmt::format("data-{:05}-of-{:05}.arrow", i, shards);
      write(name + "/" + file, "");
      files += fmt::format("{}{{\"filename\": \"{}\"}}", i == 0 ? "" : ", ", file);
    }
    write(name + "/state.json", "{\"_data_files\": [" + files + "], \"_split\": null}");
    write(name + "/dataset_info.json", "{}");
  }
  FileFormat format_ = FileFormat::tsv;

 private:
  std::string inside(const std::filesystem::path& path) { return std::filesystem::relative(path, folder_).string(); }
};

TEST_F(ParquetFiles, AllShardsInOrder) {
  for (const char* name :
       {"train-00002-of-00003", "train-00000-of-00003", "train-00001-of-00003", "training-00000-of-00001"})
    write(std::string(name) + ".parquet", "");
  EXPECT_EQ(find(), "train-00000-of-00003.parquet train-00001-of-00003.parquet train-00002-of-00003.parquet");
  EXPECT_EQ(format_, FileFormat::parquet);
}

TEST_F(ParquetFiles, OlderNamesEndInAHash) {
  write("validation-00000-of-00002-6d0e1f.parquet", "");
  write("validation-00001-of-00002-a3b4c5.parquet", "");
  write("validation-00000-of-00002-notahash.parquet", "");
  EXPECT_EQ(find("dev"), "validation-00000-of-00002-6d0e1f.parquet validation-00001-of-00002-a3b4c5.parquet");
}

TEST_F(ParquetFiles, AMissingShardIsNamed) {
  write("train-00000-of-00003.parquet", "");
  write("train-00002-of-00003.parquet", "");
  EXPECT_NE(message().find(": no train-00001-of-00003.parquet; 2 of its 3 shards are there"), std::string::npos)
      << message();
  write("train-00001-of-00003.parquet", "");
  EXPECT_EQ(find().substr(0, 28), "train-00000-of-00003.parquet");
  write("train-00003-of-00003.parquet", "");
  EXPECT_NE(message().find("4 of its 3 shards"), std::string::npos) << message();
}

TEST_F(ParquetFiles, TwoSetsOfShardsAreTwoShapes) {
  write("train-00000-of-00001.parquet", "");
  write("train-00000-of-00002.parquet", "");
  write("train-00001-of-00002.parquet", "");
  EXPECT_NE(message().find("train-00000-of-00001.parquet and train-00000-of-00002.parquet both hold the split train"),
            std::string::npos)
      << message();
  write("train-00000-of-00001-ab.parquet", "");
  EXPECT_NE(message().find("are both shard 0"), std::string::npos) << message();
}

TEST_F(ParquetFiles, OneFileOrAFolder) {
  write("dev.parquet", "");
  EXPECT_EQ(find("dev"), "dev.parquet");
  write("train/b.parquet", "");
  write("train/a.parquet", "");
  write("train/.hidden.parquet", "");
  EXPECT_EQ(find("train"), "train/a.parquet train/b.parquet");
  write("more/1.parquet", "");
  write("more/0.parquet", "");
  data.files["test"] = (folder_ / "more").string();
  EXPECT_EQ(find("test"), "more/0.parquet more/1.parquet");
}

TEST_F(ParquetFiles, FolderOfATaskBelow) {
  write("sst-2/train.parquet", "");
  EXPECT_EQ(find(), "sst-2/train.parquet");
}

TEST_F(ParquetFiles, TwoShapesNeedAFormat) {
  write("train.parquet", "");
  write("train.csv", "");
  EXPECT_NE(message().find("train.csv and train.parquet both hold the split train"), std::string::npos) << message();
  data.format = "hf_parquet";
  EXPECT_EQ(find(), "train.parquet");
  data.format = "csv";
  EXPECT_EQ(find(), "train.csv");
  data.format = "auto";
  std::filesystem::remove(folder_ / "train.csv");
  save("train");
  EXPECT_NE(message().find("train.parquet and train/data-00000-of-00001.arrow both hold"), std::string::npos)
      << message();
  data.format = "hf_arrow";
  EXPECT_EQ(find(), "train/data-00000-of-00001.arrow");
}

TEST_F(ParquetFiles, SavedSplits) {
  write("dataset_dict.json", "{\"splits\": [\"train\", \"validation\"]}");
  save("train", 2);
  save("validation");
  EXPECT_EQ(find(), "train/data-00000-of-00002.arrow train/data-00001-of-00002.arrow");
  EXPECT_EQ(format_, FileFormat::arrow);
  EXPECT_EQ(find("dev"), "validation/data-00000-of-00001.arrow");
  std::filesystem::remove(folder_ / "train/data-00001-of-00002.arrow");
  EXPECT_NE(message().find("train/data-00001-of-00002.arrow: no such file, but state.json names it"), std::string::npos)
      << message();
}

TEST_F(ParquetFiles, OneSavedDataSetIsTheSplitAskedFor) {
  save("reviews");
  EXPECT_EQ(find("dev", "reviews"), "reviews/data-00000-of-00001.arrow");
  const TaskSpec& spec = task_registry().at("sst2");
  const TaskConfig task{"sst2", (folder_ / "reviews").string()};
  EXPECT_THROW(find_split_files(spec, task, data, {"train", "dev"}), ConfigError);
  data.files = {{"train", (folder_ / "reviews").string()}};
  EXPECT_EQ(find("train"), "reviews/data-00000-of-00001.arrow");
}

TEST_F(ParquetFiles, DamagedStateFiles) {
  for (const char* state :
       {"", "{", "[]", "{\"_data_files\": []}", "{\"_data_files\": [1]}", "{\"_data_files\": {}}",
        "{\"_data_files\": [{\"filename\": 1}]}",
        "{\"_data_files\": [{\"filename\": \"a\"}], \"_indices_data_files\": [{\"filename\": \"b\"}]}"}) {
    write("train/state.json", state);
    const std::string text = message();
    EXPECT_TRUE(text.starts_with("train/state.json:")) << state << ": " << text;
  }
}

}  // namespace
}  // namespace peft
