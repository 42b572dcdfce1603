#include <cstdlib>

#include "peft/submission/validate.h"
#include "tests/data/fixtures.h"
#include "tests/submission/samples.h"

namespace peft {
namespace {

class TestFiles : public FolderTest {
 protected:
  TestRows read(const std::string& name) { return read_test_rows(file_named(name), folder_).value(); }
  std::string message(const std::string& name) {
    try {
      read(name);
    } catch (const DataError& error) {
      return std::string(error.what()).substr(folder_.string().size() + 1);
    }
    return {};
  }
};

TEST_F(TestFiles, AreFoundInTheTasksFolderAndAroundIt) {
  write("rte/test.tsv", "index\tsentence1\tsentence2\n3\ta\tb\n1\t\"c\td\n");
  EXPECT_EQ(read("RTE.tsv").idx, (std::vector<int64_t>{1, 3}));
  EXPECT_EQ(read("RTE.tsv").source, folder_ / "rte" / "test.tsv");
  EXPECT_EQ(read_test_rows(file_named("RTE.tsv"), folder_ / "rte")->idx, (std::vector<int64_t>{1, 3}));
  EXPECT_FALSE(read_test_rows(file_named("RTE.jsonl"), folder_));  // the other benchmark's
  EXPECT_FALSE(read_test_rows(file_named("QNLI.tsv"), folder_));
  EXPECT_FALSE(read_test_rows(file_named("RTE.tsv"), folder_ / "gone"));
}

TEST_F(TestFiles, AreLookedForAroundATasksFolderToo) {
  write("rte/test.tsv", "");
  const auto same = [](const std::filesystem::path& a, const std::filesystem::path& b) {
    return std::filesystem::equivalent(a, b);
  };
  EXPECT_EQ(dump_roots(folder_), DumpRoots{folder_});
  const DumpRoots of_task = dump_roots(folder_ / "rte"), of_file = dump_roots(folder_ / "rte" / "test.tsv");
  ASSERT_EQ(of_task.size(), 2U);
  ASSERT_EQ(of_file.size(), 2U);
  EXPECT_TRUE(same(of_task[0], folder_ / "rte") && same(of_task[1], folder_));
  EXPECT_TRUE(same(of_file[0], folder_ / "rte") && same(of_file[1], folder_));
}

TEST_F(TestFiles, MayHaveOtherNames) {
  write("diagnostic/diagnostic.tsv", "index\tsentence1\tsentence2\n0\ta\tb\n");
  write("MNLI/test_m.tsv", "index\tsentence1\tsentence2\n0\ta\tb\n");
  write("MNLI/test-mismatched.tsv", "index\tsentence1\tsentence2\n4\ta\tb\n");
  EXPECT_EQ(read("AX.tsv").idx, std::vector<int64_t>{0});
  EXPECT_EQ(read("MNLI-m.tsv").idx, std::vector<int64_t>{0});
  EXPECT_EQ(read("MNLI-mm.tsv").idx, std::vector<int64_t>{4});
  EXPECT_EQ(dump_roots(folder_ / "diagnostic").size(), 2U);
}

TEST_F(TestFiles, OfQqpCallTheirIndexId) {
  write("QQP/test.tsv", "id\tquestion1\tquestion2\n0\ta\tb\n1\tc\td\n");
  EXPECT_EQ(read("QQP.tsv").idx, (std::vector<int64_t>{0, 1}));
}

TEST_F(TestFiles, OfAxbMayHaveIndicesThatAreStrings) {
  write("AX-b/AX-b.jsonl", "{\"idx\": \"0\"}\n{\"idx\": \"1\"}");
  EXPECT_EQ(read("AX-b.jsonl").idx, (std::vector<int64_t>{0, 1}));
}

TEST_F(TestFiles, OfMultiRcTellQuestionsAndAnswers) {
  write("MultiRC/test.jsonl",
        R"({"idx": 5, "passage": {"text": "", "questions": [{"idx": 7, "answers": [{"idx": 1}, {"idx": 2}]}]}})"
        "\n");
  const TestRows rows = read("MultiRC.jsonl");
  EXPECT_EQ(rows.idx, std::vector<int64_t>{5});
  EXPECT_EQ(rows.passages, (std::map<int64_t, TestRows::Questions>{{5, {{7, {1, 2}}}}}));
}

TEST_F(TestFiles, OfReCoRdTellEntitiesByCharacter) {
  write("ReCoRD/test.jsonl",
        "{\"idx\": 3, \"passage\": {\"text\": \"Zo\xC3\xAB met Al\", \"entities\": [{\"start\": 0, "
        "\"end\": 2}, {\"start\": 8, \"end\": 9}]}, \"qas\": [{\"idx\": 11}, {\"idx\": 12}]}\n");
  const TestRows rows = read("ReCoRD.jsonl");
  EXPECT_EQ(rows.idx, (std::vector<int64_t>{11, 12}));
  EXPECT_EQ(rows.entities.at(12), (std::vector<std::string>{"Zo\xC3\xAB", "Al"}));
}

TEST_F(TestFiles, ThatAreBadAreNamedByLine) {
  write("RTE/test.tsv", "index\tsentence1\tsentence2\n0\ta\tb\nx\tc\td\n");
  EXPECT_EQ(message("RTE.tsv"), "RTE/test.tsv:3: index is \"x\", expected an integer");
  write("RTE/test.tsv", "index\tsentence1\tsentence2\n0\ta\n");
  EXPECT_EQ(message("RTE.tsv"), "RTE/test.tsv:2: 2 columns, expected 3 (index, sentence1, sentence2)");
  write("RTE/test.tsv", "index\tsentence1\tsentence2\n4\ta\tb\n4\tc\td\n");
  EXPECT_EQ(message("RTE.tsv"), "RTE/test.tsv:3: idx 4 occurs a second time");
  write("RTE/test.tsv", "index\tsentence1\tsentence2\n");
  EXPECT_EQ(message("RTE.tsv"), "RTE/test.tsv: no examples");
  write("CB/test.jsonl", "{\"idx\": 0}\n{\"idx\": true}\n");
  EXPECT_EQ(message("CB.jsonl"), "CB/test.jsonl:2: idx is true, expected an integer");
  write("CB/test.jsonl", "{\"idx\": 0}\n[1]\n");
  EXPECT_EQ(message("CB.jsonl"), "CB/test.jsonl:2: no object");
  write("CB/test.jsonl", "{\"idx\": 0\n");
  EXPECT_TRUE(message("CB.jsonl").starts_with("CB/test.jsonl:1: column ")) << message("CB.jsonl");
  write("MultiRC/test.jsonl", R"({"idx": 0, "passage": {"questions": [{"idx": 0, "answers": 1}]}})");
  EXPECT_EQ(message("MultiRC.jsonl"), "MultiRC/test.jsonl:1: no list answers");
  write("ReCoRD/test.jsonl",
        R"({"passage": {"text": "abc", "entities": [{"start": 1, "end": 3}]}, "qas": [{"idx": 0}]})");
  EXPECT_EQ(message("ReCoRD.jsonl"), "ReCoRD/test.jsonl:1: entity 1 to 3; expected a span inside the passage");
}

TEST_F(TestFiles, OfTheRealDumpsHaveTheOfficialNumbers) {
  const char* root = std::getenv("PEFT_DATA");
  if (root == nullptr) GTEST_SKIP() << "set PEFT_DATA to the folder that holds the dumps";
  int found = 0;
  for (const SubmissionFile& file : submission_table()) {
    const auto rows = read_test_rows(file, std::filesystem::path(root) / file.benchmark);
    if (!rows) continue;
    ++found;
    EXPECT_EQ(rows->idx, official_rows(file).idx) << file.name;
    int64_t questions = 0, answers = 0;
    for (const auto& [passage, of_passage] : rows->passages)
      for (const auto& [question, of_question] : of_passage) {
        EXPECT_EQ(question, questions++);
        for (const int64_t answer : of_question) EXPECT_EQ(answer, answers++);
      }
    if (file.kind != LineKind::json_answers) continue;
    EXPECT_EQ(questions, file.questions);
    EXPECT_EQ(answers, file.answers);
  }
  EXPECT_GE(found, 1) << root;
}

}  // namespace
}  // namespace peft
