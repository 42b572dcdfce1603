#include "peft/submission/validate.h"

#include <gmock/gmock.h>

#include "peft/submission/manifest.h"
#include "peft/submission/zip.h"
#include "tests/data/fixtures.h"
#include "tests/submission/samples.h"

namespace peft {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Validation check(const std::string& name, const std::string& content, const TestRows* rows = nullptr) {
  Validation validation;
  validate_content(file_named(name), content, name, rows == nullptr ? official_rows(file_named(name)) : *rows,
                   validation);
  return validation;
}

/// Line `number`, from 1, is another one.
std::string with_line(const std::string& content, int number, const std::string& line) {
  std::size_t begin = 0;
  for (int n = 1; n < number; ++n) begin = content.find('\n', begin) + 1;
  return content.substr(0, begin) + line + content.substr(content.find('\n', begin));
}

std::string without_line(const std::string& content, int number) {
  std::string out = with_line(content, number, "");
  std::size_t begin = 0;
  for (int n = 1; n < number; ++n) begin = out.find('\n', begin) + 1;
  return out.erase(begin, 1);
}

TEST(ValidateContent, PassesEveryFileThatWasWrittenHere) {
  for (const SubmissionFile& file : submission_table()) {
    const Validation validation = check(file.name, sample_text(file));
    EXPECT_THAT(validation.failures, IsEmpty()) << file.name;
    EXPECT_THAT(validation.warnings, IsEmpty()) << file.name;
  }
}

struct Corruption {
  std::string rule, file;
  std::function<std::string(std::string)> corrupt;
  std::vector<std::string> failures;
};

class CorruptedFile : public testing::TestWithParam<Corruption> {};

TEST_P(CorruptedFile, FailsTheRuleAtItsLine) {
  const Corruption& corruption = GetParam();
  const std::string sound = sample_text(file_named(corruption.file));
  const std::string corrupted = corruption.corrupt(sound);
  ASSERT_NE(corrupted, sound);
  EXPECT_EQ(check(corruption.file, corrupted).failures, corruption.failures);
}

auto line(int number, const std::string& text) {
  return [=](const std::string& content) { return with_line(content, number, text); };
}

const auto name_of = [](const testing::TestParamInfo<Corruption>& info) { return info.param.rule; };

// Line 3 of a tsv file is the row with index 1.
INSTANTIATE_TEST_SUITE_P(
    Bytes, CorruptedFile,
    testing::Values(Corruption{"Bom",
                               "WNLI.tsv",
                               [](const std::string& s) { return "\xEF\xBB\xBF" + s; },
                               {"WNLI.tsv:1: byte order mark; expected none"}},
                    Corruption{"CarriageReturn",
                               "WNLI.tsv",
                               line(3, "1\t1\r"),
                               {"WNLI.tsv:3: carriage return; expected lines that end in a line feed alone"}},
                    Corruption{"CarriageReturnInJson",
                               "COPA.jsonl",
                               line(2, "{\"idx\": 1, \"label\": 1}\r"),
                               {"COPA.jsonl:2: carriage return; expected lines that end in a line feed alone"}},
                    Corruption{"NoLineFeedAtTheEnd",
                               "WNLI.tsv",
                               [](const std::string& s) { return s.substr(0, s.size() - 1); },
                               {"WNLI.tsv:147: no line feed at the end; expected one"}},
                    Corruption{"EmptyLine",
                               "WNLI.tsv",
                               [](const std::string& s) { return s + "\n"; },
                               {"WNLI.tsv:148: empty line; expected none"}},
                    Corruption{"NoUtf8",
                               "ReCoRD.jsonl",
                               line(2, "{\"idx\": 1, \"label\": \"\xFF\"}"),
                               {"ReCoRD.jsonl:2: byte 22: invalid UTF-8 (0xff); expected UTF-8"}}),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    Tsv, CorruptedFile,
    testing::Values(
        Corruption{"Header",
                   "WNLI.tsv",
                   line(1, "index\tlabel"),
                   {"WNLI.tsv:1: header \"index\\tlabel\"; expected index<TAB>prediction"}},
        Corruption{"NoHeader",
                   "WNLI.tsv",
                   [](const std::string& s) { return without_line(s, 1); },
                   {"WNLI.tsv:1: header \"0\\t0\"; expected index<TAB>prediction"}},
        Corruption{"Empty",
                   "WNLI.tsv",
                   [](const std::string&) { return ""; },
                   {"WNLI.tsv:1: no header; expected index<TAB>prediction",
                    "WNLI.tsv: 0 rows; expected the 146 of the leaderboard; index 0 is missing, and 145 more"}},
        Corruption{
            "Columns", "WNLI.tsv", line(3, "1\t1\t1"), {"WNLI.tsv:3: 3 columns; expected 2 (index, prediction)"}},
        Corruption{"Quotes",
                   "WNLI.tsv",
                   line(3, "1\t\"1\""),
                   {"WNLI.tsv:3: \"\\\"1\\\"\" has quotes around it; expected none"}},
        Corruption{"Index", "WNLI.tsv", line(3, "1.0\t1"), {"WNLI.tsv:3: index \"1.0\"; expected a whole number"}},
        Corruption{
            "IndexWithZeros", "WNLI.tsv", line(3, "01\t1"), {"WNLI.tsv:3: index \"01\"; expected a whole number"}},
        Corruption{"Rows",
                   "WNLI.tsv",
                   [](const std::string& s) { return without_line(s, 3); },
                   {"WNLI.tsv:146: 145 rows; expected the 146 of the leaderboard; index 1 is missing"}},
        Corruption{"RowTooMany",
                   "WNLI.tsv",
                   [](const std::string& s) { return s + "146\t0\n"; },
                   {"WNLI.tsv:148: index 146; expected one of the 146 of the leaderboard",
                    "WNLI.tsv:148: 147 rows; expected the 146 of the leaderboard"}},
        Corruption{"Twice",
                   "WNLI.tsv",
                   line(3, "0\t1"),
                   {"WNLI.tsv:3: index 0 already stands in line 2; expected it once",
                    "WNLI.tsv:4: index 1 is missing; expected all of the leaderboard"}},
        Corruption{"Order",
                   "WNLI.tsv",
                   [](const std::string& s) { return with_line(with_line(s, 3, "2\t0"), 4, "1\t0"); },
                   {"WNLI.tsv:4: index 1 behind 2; expected ascending order"}},
        Corruption{"LabelWithSpace",
                   "RTE.tsv",
                   line(3, "1\t entailment"),
                   {"RTE.tsv:3: prediction \" entailment\"; expected one of entailment, not_entailment"}},
        Corruption{
            "LabelInCapitals",
            "RTE.tsv",
            [](const std::string& s) { return with_line(with_line(s, 3, "1\tEntailment"), 9, "7\tNO"); },
            {"RTE.tsv:3: prediction \"Entailment\"; expected one of entailment, not_entailment; 1 more like this"}},
        Corruption{"LabelAsNumber",
                   "RTE.tsv",
                   line(3, "1\t0"),
                   {"RTE.tsv:3: prediction \"0\"; expected one of entailment, not_entailment"}},
        Corruption{
            "LabelAsReal", "CoLA.tsv", line(3, "1\t1.0"), {"CoLA.tsv:3: prediction \"1.0\"; expected one of 0, 1"}},
        Corruption{"ScoreTooLarge",
                   "STS-B.tsv",
                   line(3, "1\t5.001"),
                   {"STS-B.tsv:3: prediction \"5.001\"; expected 0.000 to 5.000 with three decimals"}},
        Corruption{"ScoreNegative",
                   "STS-B.tsv",
                   line(3, "1\t-0.100"),
                   {"STS-B.tsv:3: prediction \"-0.100\"; expected 0.000 to 5.000 with three decimals"}},
        Corruption{"ScoreNan",
                   "STS-B.tsv",
                   line(3, "1\tnan"),
                   {"STS-B.tsv:3: prediction \"nan\"; expected 0.000 to 5.000 with three decimals"}},
        Corruption{"ScoreShort",
                   "STS-B.tsv",
                   line(3, "1\t2.5"),
                   {"STS-B.tsv:3: prediction \"2.5\"; expected 0.000 to 5.000 with three decimals"}}),
    name_of);

// Line 2 of a jsonl file is the row with idx 1.
INSTANTIATE_TEST_SUITE_P(
    Json, CorruptedFile,
    testing::Values(Corruption{"Syntax",
                               "WSC.jsonl",
                               line(2, "{\"idx\": 1, \"label\": True}"),
                               {"WSC.jsonl:2: column 21: invalid literal; expected a JSON object"}},
                    Corruption{"NoObject",
                               "WSC.jsonl",
                               line(2, "[1, \"True\"]"),
                               {"WSC.jsonl:2: [1,\"True\"]; expected an object"}},
                    Corruption{"KeyMissing",
                               "WSC.jsonl",
                               line(2, "{\"idx\": 1}"),
                               {"WSC.jsonl:2: the keys \"idx\"; expected the keys idx, label"}},
                    Corruption{"KeyTooMany",
                               "WSC.jsonl",
                               line(2, "{\"idx\": 1, \"label\": \"True\", \"score\": 1}"),
                               {"WSC.jsonl:2: the keys \"idx, label, score\"; expected the keys idx, label"}},
                    Corruption{"IdxIsString",
                               "WSC.jsonl",
                               line(2, "{\"idx\": \"1\", \"label\": \"True\"}"),
                               {"WSC.jsonl:2: idx is \"1\"; expected an integer"}},
                    Corruption{"IdxIsReal",
                               "WSC.jsonl",
                               line(2, "{\"idx\": 1.0, \"label\": \"True\"}"),
                               {"WSC.jsonl:2: idx is 1.0; expected an integer"}},
                    Corruption{"IdxTwice",
                               "WSC.jsonl",
                               line(2, "{\"idx\": 0, \"label\": \"True\"}"),
                               {"WSC.jsonl:2: idx 0 already stands in line 1; expected it once",
                                "WSC.jsonl:3: idx 1 is missing; expected all of the leaderboard"}},
                    Corruption{"WscInLowerCase",
                               "WSC.jsonl",
                               line(2, "{\"idx\": 1, \"label\": \"true\"}"),
                               {"WSC.jsonl:2: label is \"true\"; expected one of the strings False, True"}},
                    Corruption{"BoolqInCapitals",
                               "BoolQ.jsonl",
                               line(2, "{\"idx\": 1, \"label\": \"True\"}"),
                               {"BoolQ.jsonl:2: label is \"True\"; expected one of the strings false, true"}},
                    Corruption{"BoolqAsBoolean",
                               "BoolQ.jsonl",
                               line(2, "{\"idx\": 1, \"label\": true}"),
                               {"BoolQ.jsonl:2: label is true; expected one of the strings false, true"}},
                    Corruption{"CopaAsString",
                               "COPA.jsonl",
                               line(2, "{\"idx\": 1, \"label\": \"1\"}"),
                               {"COPA.jsonl:2: label is \"1\"; expected one of the integers 0, 1"}},
                    Corruption{"CopaAsReal",
                               "COPA.jsonl",
                               line(2, "{\"idx\": 1, \"label\": 1.0}"),
                               {"COPA.jsonl:2: label is 1.0; expected one of the integers 0, 1"}},
                    Corruption{"CopaAsBoolean",
                               "COPA.jsonl",
                               line(2, "{\"idx\": 1, \"label\": true}"),
                               {"COPA.jsonl:2: label is true; expected one of the integers 0, 1"}},
                    Corruption{"RecordAsList",
                               "ReCoRD.jsonl",
                               line(2, "{\"idx\": 1, \"label\": [\"a\"]}"),
                               {"ReCoRD.jsonl:2: label is [\"a\"]; expected a string"}}),
    name_of);

std::string passage(const std::string& questions, int idx = 0) {
  return fmt::format("{{\"idx\": {}, \"passage\": {{\"questions\": [{}]}}}}", idx, questions);
}
std::string question(int idx, const std::string& answers) {
  return fmt::format("{{\"idx\": {}, \"answers\": [{}]}}", idx, answers);
}
std::string answer(int idx, const std::string& label = "0") {
  return fmt::format("{{\"idx\": {}, \"label\": {}}}", idx, label);
}

/// One passage, one question, two answers.
std::vector<std::string> multirc_failures(const std::string& content) {
  TestRows rows;
  rows.source = "dump";
  rows.idx = {0};
  rows.passages = {{0, {{4, {8, 9}}}}};
  return check("MultiRC.jsonl", content + "\n", &rows).failures;
}

TEST(ValidateMultiRc, ComparesQuestionsAndAnswersWithTheDump) {
  EXPECT_THAT(multirc_failures(passage(question(4, answer(9) + ", " + answer(8, "1")))), IsEmpty());
  EXPECT_THAT(multirc_failures(passage(question(5, answer(8) + ", " + answer(9)))),
              ElementsAre("MultiRC.jsonl:1: passage 0: the questions 5; expected 4 as in dump"));
  EXPECT_THAT(multirc_failures(passage(question(4, answer(8)))),
              ElementsAre("MultiRC.jsonl:1: question 4: the answers 8; expected 8, 9 as in dump"));
  EXPECT_THAT(multirc_failures(passage("")),
              ElementsAre("MultiRC.jsonl:1: passage 0: the questions none; expected 4 as in dump"));
  EXPECT_THAT(multirc_failures(passage(question(4, answer(8) + ", " + answer(8)))),
              ElementsAre("MultiRC.jsonl:1: passage.questions[0].answers[1].idx 8 occurs twice; expected it once"));
  EXPECT_THAT(multirc_failures(passage(question(4, answer(8) + ", " + answer(9)) + ", " + question(4, answer(8)))),
              ElementsAre("MultiRC.jsonl:1: passage.questions[1].idx 4 occurs twice; expected it once"));
}

TEST(ValidateMultiRc, KnowsTheTypesOfAllKeys) {
  EXPECT_THAT(
      multirc_failures(passage(question(4, answer(8, "true") + ", " + answer(9, "\"1\"")))),
      ElementsAre("MultiRC.jsonl:1: passage.questions[0].answers[0].label is true; expected one of the integers 0, 1; "
                  "1 more like this"));
  EXPECT_THAT(multirc_failures("{\"idx\": 0, \"passage\": {\"questions\": 3}}"),
              ElementsAre("MultiRC.jsonl:1: passage.questions is 3; expected a list"));
  EXPECT_THAT(multirc_failures("{\"idx\": 0, \"passage\": []}"),
              ElementsAre("MultiRC.jsonl:1: passage: []; expected an object"));
  EXPECT_THAT(multirc_failures(passage("{\"idx\": 4}")),
              ElementsAre("MultiRC.jsonl:1: passage.questions[0]: the keys \"idx\"; expected the keys answers, idx"));
  EXPECT_THAT(multirc_failures(passage(question(4, "{\"idx\": \"8\", \"label\": 0}"))),
              ElementsAre("MultiRC.jsonl:1: passage.questions[0].answers[0].idx is \"8\"; expected an integer"));
}

TEST(ValidateMultiRc, CountsQuestionsAndAnswersWithoutADump) {
  std::vector<SubmissionRow> rows = sample_rows(file_named("MultiRC.jsonl"));
  rows.pop_back();
  rows[7].idx[2] = 9999;
  EXPECT_THAT(check("MultiRC.jsonl", submission_text(file_named("MultiRC.jsonl"), rows, "")).failures,
              ElementsAre("MultiRC.jsonl:1: answer 9999; expected 0 to 9692",
                          "MultiRC.jsonl:166: 9692 answers; expected the 9693 of the leaderboard"));
}

TEST(ValidateContent, ComparesIndicesWithTheDump) {
  TestRows rows;
  rows.source = "glue/WNLI/test.tsv";
  rows.idx = {2, 5};
  EXPECT_THAT(check("WNLI.tsv", "index\tprediction\n2\t0\n5\t1\n", &rows).failures, IsEmpty());
  EXPECT_THAT(check("WNLI.tsv", "index\tprediction\n2\t0\n3\t1\n", &rows).failures,
              ElementsAre("WNLI.tsv:3: index 3; expected one of the 2 of glue/WNLI/test.tsv",
                          "WNLI.tsv:3: index 5 is missing; expected all of glue/WNLI/test.tsv"));
}

TEST(ValidateContent, WarnsOfOneConstantPredictionAndOfTextsThatAreNoEntities) {
  const SubmissionFile& file = file_named("WNLI.tsv");
  EXPECT_THAT(check("WNLI.tsv", submission_text(file, constant_rows(file, official_rows(file)), "")).warnings,
              ElementsAre("WNLI.tsv: all 146 predictions are \"0\""));
  TestRows rows;
  rows.idx = {0, 1};
  rows.entities = {{0, {"Al"}}, {1, {"Al", "Bo"}}};
  const Validation validation =
      check("ReCoRD.jsonl", "{\"idx\": 0, \"label\": \"Bo\"}\n{\"idx\": 1, \"label\": \"Al\"}\n", &rows);
  EXPECT_THAT(validation.failures, IsEmpty());
  EXPECT_THAT(validation.warnings, ElementsAre("ReCoRD.jsonl:1: label \"Bo\" is none of the passage's entities"));
}

class ValidateFolder : public FolderTest {
 protected:
  void write_all(const std::string& benchmark) {
    for (const SubmissionFile* file : submission_files(benchmark))
      if (file->name != "QQP.tsv") write(file->name, sample_text(*file));  // the large one is no other
  }
  std::vector<std::string> failures(bool all = true) {
    std::vector<std::string> lines = validate_submission(folder_, {}, all).failures;
    for (std::string& line : lines)
      for (std::size_t at; (at = line.find(folder_.string())) != std::string::npos;)
        line.replace(at, folder_.string().size(), "D");
    return lines;
  }
};

TEST_F(ValidateFolder, NamesTheMissingFiles) {
  write_all("superglue");
  EXPECT_THAT(failures(), IsEmpty());
  std::filesystem::remove(folder_ / "CB.jsonl");
  std::filesystem::remove(folder_ / "WiC.jsonl");
  EXPECT_THAT(failures(), ElementsAre("D: no CB.jsonl, WiC.jsonl; expected all 10 files of SuperGLUE"));
  EXPECT_THAT(failures(/*all=*/false), IsEmpty());
}

TEST_F(ValidateFolder, NamesWhatDoesNotBelongThere) {
  write_all("superglue");
  write("RTE.tsv", sample_text(file_named("RTE.tsv")));
  write("sub/x", "");
  std::filesystem::rename(folder_ / "CB.jsonl", folder_ / "cb.jsonl");
  const std::string all =
      "AX-b.jsonl, AX-g.jsonl, BoolQ.jsonl, CB.jsonl, COPA.jsonl, MultiRC.jsonl, RTE.jsonl, ReCoRD.jsonl, WSC.jsonl, "
      "WiC.jsonl";
  EXPECT_THAT(failures(), ElementsAre("D: \"sub\" is no file; expected files alone",
                                      "D: \"RTE.tsv\" is no file of SuperGLUE; expected " + all + " alone",
                                      "D: the name \"cb.jsonl\"; expected CB.jsonl"));
}

TEST_F(ValidateFolder, ComparesItsArchiveWithItsFiles) {
  write_all("superglue");
  NamedFiles files;
  for (const SubmissionFile* file : submission_files("superglue")) files.emplace_back(file->name, sample_text(*file));
  write("submission.zip", zip_bytes(files));
  EXPECT_THAT(failures(), IsEmpty());
  files.front().second += "\n";
  write("submission.zip", zip_bytes(files));
  EXPECT_THAT(failures(),
              ElementsAre("D/submission.zip: holds other files than the folder; expected the same, byte for byte"));
  write("submission.zip", "PK");
  EXPECT_THAT(failures(), ElementsAre(testing::EndsWith("; expected a zip archive")));
}

TEST_F(ValidateFolder, SaysWhatTheManifestMarksAsFilled) {
  write_all("superglue");
  write_manifest(folder_, {{"CB.jsonl", {.filled = true, .rows = 250}}, {"RTE.jsonl", {.run = "runs/rte"}}});
  const Validation validation = validate_submission(folder_, {});
  EXPECT_TRUE(validation.passed());
  EXPECT_THAT(validation.filled, ElementsAre("CB.jsonl"));
  EXPECT_THAT(validation.warnings,
              ElementsAre((folder_ / "manifest.json").string() + ": filled, not predicted: CB.jsonl"));
  write("manifest.json", "{\"CB.jsonl\": {\"source\": \"guessed\"}}");
  EXPECT_THAT(failures(), ElementsAre("D/manifest.json: CB.jsonl: found {\"source\":\"guessed\"}; expected an object "
                                      "whose source is predicted or filled"));
}

TEST_F(ValidateFolder, ReadsTheDumpsOfTheRoot) {
  write("submission/RTE.tsv", "index\tprediction\n0\tentailment\n1\tnot_entailment\n");
  write("glue/RTE/test.tsv", "index\tsentence1\tsentence2\n0\ta\tb\n1\ta\tb\n");
  const Validation validation = validate_submission(folder_ / "submission", {folder_ / "glue"}, /*all=*/false);
  EXPECT_THAT(validation.failures, IsEmpty());
  EXPECT_THAT(validation.dumps, ElementsAre("RTE.tsv"));
  EXPECT_THAT(validation.warnings,
              ElementsAre((folder_ / "glue/RTE/test.tsv").string() + ": 2 rows, and the leaderboard has 3000"));
}

TEST_F(ValidateFolder, SeesThatAnArchiveHoldsAFolder) {
  // What an archiver makes of "out": zip_bytes() itself takes any name.
  write("x.zip", zip_bytes({{"out/CB.jsonl", ""}, {"out/WSC.jsonl", ""}}));
  EXPECT_THAT(validate_submission(folder_ / "x.zip", {}).failures,
              ElementsAre((folder_ / "x.zip").string() +
                          ": the path \"out/CB.jsonl\"; expected names without folders; 1 more like this"));
}

TEST_F(ValidateFolder, RefusesAPlaceWithoutSubmissions) {
  write("notes.txt", "");
  EXPECT_THROW(validate_submission(folder_, {}), DataError);
  EXPECT_THROW(validate_submission(folder_ / "notes.txt", {}), DataError);
  EXPECT_THROW(validate_submission(folder_ / "gone", {}), DataError);
}

}  // namespace
}  // namespace peft
