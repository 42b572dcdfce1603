#include "peft/submission/folder.h"

#include <gmock/gmock.h>

#include <fstream>

#include "peft/base/json.h"
#include "peft/submission/zip.h"
#include "tests/data/fixtures.h"
#include "tests/submission/samples.h"

namespace peft {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class SubmissionFolderTest : public FolderTest {
 protected:
  std::string read(const std::filesystem::path& path) { return std::string(MappedFile(path).text()); }
  void write_all(SubmissionFolder& folder, const std::string& benchmark, const std::string& but = {}) {
    for (const SubmissionFile* file : submission_files(benchmark))
      if (file->name != but)
        folder.write(*file, sample_text(*file),
                     {.run = "runs/" + file->task, .adapter_hash = "abc", .rows = file->lines});
  }
  /// A file of predictions has the indices of a dump where a dump has them.
  void write_multirc_dump() { write("data/MultiRC/test.jsonl", sample_text(file_named("MultiRC.jsonl"))); }
  std::string refusal(const std::string& benchmark) {
    try {
      SubmissionFolder folder(folder_ / "out", benchmark);
    } catch (const ConfigError& error) {
      return std::string(error.what()).substr(folder_.string().size() + 1);
    }
    return {};
  }
};

TEST_F(SubmissionFolderTest, HasAnArchiveOnceAllFilesAreThere) {
  SubmissionFolder folder(folder_ / "out", "superglue");
  write_all(folder, "superglue", "CB.jsonl");
  EXPECT_THAT(folder.missing(), ElementsAre("CB.jsonl"));
  EXPECT_TRUE(folder.finish({}).passed());
  EXPECT_FALSE(path_exists(folder_ / "out" / "submission.zip"));

  folder.write(file_named("CB.jsonl"), sample_text(file_named("CB.jsonl")), {.run = "runs/cb", .rows = 250});
  const Validation validation = folder.finish({});
  EXPECT_THAT(validation.failures, IsEmpty());
  const ZipContent zip = read_zip(folder_ / "out" / "submission.zip");
  ASSERT_EQ(zip.files.size(), 10U);
  for (std::size_t i = 0; i < zip.files.size(); ++i) {
    EXPECT_EQ(zip.files[i].first, submission_files("superglue")[i]->name);
    EXPECT_EQ(zip.files[i].second, sample_text(*submission_files("superglue")[i]));
  }
}

TEST_F(SubmissionFolderTest, GivesEqualBytesForEqualPredictions) {
  std::vector<std::string> archives;
  for (const char* name : {"one", "two"}) {
    SubmissionFolder folder(folder_ / name, "superglue");
    write_all(folder, "superglue");
    folder.finish({});
    archives.push_back(read(folder_ / name / "submission.zip"));
  }
  EXPECT_EQ(archives[0], archives[1]);
}

TEST_F(SubmissionFolderTest, HasNoArchiveOfFilesThatFail) {
  SubmissionFolder folder(folder_ / "out", "superglue");
  write_all(folder, "superglue");
  EXPECT_TRUE(folder.finish({}).passed());
  write("out/CB.jsonl", "{\"idx\": 0, \"label\": \"maybe\"}\n");
  const Validation validation = folder.finish({});
  EXPECT_THAT(validation.failures, Contains(HasSubstr("CB.jsonl:1: label is \"maybe\"")));
  EXPECT_FALSE(path_exists(folder_ / "out" / "submission.zip"));
}

TEST_F(SubmissionFolderTest, KeepsAManifest) {
  write_multirc_dump();
  {
    SubmissionFolder folder(folder_ / "out", "superglue");
    folder.write(file_named("RTE.jsonl"), sample_text(file_named("RTE.jsonl")),
                 {.run = "runs/rte", .adapter_hash = "abc", .rows = 3000});
    folder.fill_missing({folder_ / "data"});
    const Validation validation = folder.finish({folder_ / "data"});
    EXPECT_THAT(validation.failures, IsEmpty());
    EXPECT_EQ(validation.filled.size(), 9U);
    EXPECT_THAT(validation.warnings,
                Contains((folder_ / "out/CB.jsonl").string() + ": all 250 predictions are \"entailment\""));
  }
  const Json manifest = read_json_file<DataError>(folder_ / "out" / "manifest.json");
  EXPECT_EQ(manifest.size(), 10U);
  EXPECT_EQ(manifest["RTE.jsonl"].dump(),
            R"({"adapter_hash":"abc","rows":3000,"run":"runs/rte","source":"predicted"})");
  EXPECT_EQ(manifest["MultiRC.jsonl"].dump(), R"({"rows":9693,"source":"filled"})");
  // A prediction replaces what was filled; files that went away leave the manifest.
  std::filesystem::remove(folder_ / "out" / "WSC.jsonl");
  SubmissionFolder folder(folder_ / "out", "superglue");
  folder.write(file_named("CB.jsonl"), sample_text(file_named("CB.jsonl")), {.run = "runs/cb", .rows = 250});
  const Manifest again = read_manifest(folder_ / "out");
  EXPECT_FALSE(again.at("CB.jsonl").filled);
  EXPECT_FALSE(again.contains("WSC.jsonl"));
}

TEST_F(SubmissionFolderTest, FillsNothingWhereOneFileCannotBe) {
  SubmissionFolder folder(folder_ / "out", "superglue");
  EXPECT_THROW(folder.fill_missing({}), DataError);
  EXPECT_EQ(folder.missing().size(), 10U);
}

TEST_F(SubmissionFolderTest, FillsGlueWithTheOfficialNumbers) {
  SubmissionFolder folder(folder_ / "out", "glue");
  folder.fill_missing({});
  const Validation validation = folder.finish({});
  EXPECT_THAT(validation.failures, IsEmpty());
  EXPECT_EQ(read(folder_ / "out/WNLI.tsv").substr(0, 22), "index\tprediction\n0\t0\n1");
  EXPECT_TRUE(path_exists(folder_ / "out" / "submission.zip"));
}

TEST_F(SubmissionFolderTest, IsOfOneBenchmarkAlone) {
  write("out/RTE.tsv", "index\tprediction\n");
  EXPECT_EQ(benchmark_of(folder_ / "out"), "glue");
  EXPECT_EQ(refusal("glue"), "");
  EXPECT_EQ(refusal("superglue"), "out: holds RTE.tsv; expected an empty folder, or one with files of SuperGLUE alone");
  EXPECT_EQ(benchmark_of(folder_ / "gone"), "");
}

TEST_F(SubmissionFolderTest, RefusesAFolderOfOtherThings) {
  write("out/config.json", "{}");
  EXPECT_EQ(refusal("glue"), "out: holds config.json; expected an empty folder, or one with files of GLUE alone");
  EXPECT_FALSE(path_exists(folder_ / "out/.lock"));
  write("file", "");
  EXPECT_THROW(SubmissionFolder(folder_ / "file", "glue"), ConfigError);
}

TEST_F(SubmissionFolderTest, IsWrittenByOneProcess) {
  SubmissionFolder folder(folder_ / "out", "glue");
  EXPECT_THROW(SubmissionFolder(folder_ / "out", "glue"), Error);
}

}  // namespace
}  // namespace peft
