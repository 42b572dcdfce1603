#include "peft/submission/rows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "peft/base/error.h"
#include "tests/submission/samples.h"

namespace peft {
namespace {

std::string text(const std::string& name, std::vector<SubmissionRow> rows) {
  return submission_text(file_named(name), std::move(rows), name);
}

std::string failure(const std::string& name, std::vector<SubmissionRow> rows) {
  try {
    text(name, std::move(rows));
  } catch (const DataError& error) {
    return error.what();
  }
  return {};
}

TEST(SubmissionText, WritesClassesInAscendingOrder) {
  EXPECT_EQ(text("RTE.tsv", {{{2}, int64_t{1}}, {{0}, int64_t{0}}, {{1}, int64_t{1}}}),
            "index\tprediction\n0\tentailment\n1\tnot_entailment\n2\tnot_entailment\n");
  EXPECT_EQ(text("CoLA.tsv", {{{0}, int64_t{1}}}), "index\tprediction\n0\t1\n");
  EXPECT_EQ(text("MNLI-mm.tsv", {{{7}, int64_t{2}}}), "index\tprediction\n7\tcontradiction\n");
}

TEST(SubmissionText, ClampsScoresAndWritesThreeDecimals) {
  EXPECT_EQ(text("STS-B.tsv", {{{0}, -0.2}, {{1}, 5.01}, {{2}, 3.14159}, {{3}, -0.0}, {{4}, 4.9996}}),
            "index\tprediction\n0\t0.000\n1\t5.000\n2\t3.142\n3\t0.000\n4\t5.000\n");
}

TEST(SubmissionText, WritesTheJsonOfEachTask) {
  EXPECT_EQ(text("BoolQ.jsonl", {{{0}, int64_t{1}}, {{1}, int64_t{0}}}),
            "{\"idx\": 0, \"label\": \"true\"}\n{\"idx\": 1, \"label\": \"false\"}\n");
  EXPECT_EQ(text("WSC.jsonl", {{{0}, int64_t{1}}}), "{\"idx\": 0, \"label\": \"True\"}\n");
  EXPECT_EQ(text("CB.jsonl", {{{0}, int64_t{1}}}), "{\"idx\": 0, \"label\": \"contradiction\"}\n");
  EXPECT_EQ(text("COPA.jsonl", {{{0}, int64_t{1}}}), "{\"idx\": 0, \"label\": 1}\n");
}

TEST(SubmissionText, NestsAnswersInQuestionsInPassages) {
  EXPECT_EQ(text("MultiRC.jsonl",
                 {{{0, 0, 0}, int64_t{1}}, {{0, 1, 2}, int64_t{0}}, {{0, 0, 1}, int64_t{0}}, {{3, 5, 9}, int64_t{1}}}),
            "{\"idx\": 0, \"passage\": {\"questions\": [{\"idx\": 0, \"answers\": [{\"idx\": 0, \"label\": 1}, "
            "{\"idx\": 1, \"label\": 0}]}, {\"idx\": 1, \"answers\": [{\"idx\": 2, \"label\": 0}]}]}}\n"
            "{\"idx\": 3, \"passage\": {\"questions\": [{\"idx\": 5, \"answers\": [{\"idx\": 9, \"label\": 1}]}]}}\n");
}

TEST(SubmissionText, WritesTextsByTheQueryNotThePassage) {
  EXPECT_EQ(text("ReCoRD.jsonl", {{{4, 9}, "Zo\xC3\xAB \"the\" Great\n"}, {{7, 2}, ""}}),
            "{\"idx\": 2, \"label\": \"\"}\n{\"idx\": 9, \"label\": \"Zo\xC3\xAB \\\"the\\\" Great\\n\"}\n");
}

TEST(SubmissionText, RefusesWhatIsNoPrediction) {
  EXPECT_EQ(failure("RTE.tsv", {{{0}, int64_t{0}}, {{17}, {}}}),
            "RTE.tsv: idx 17: the prediction is not finite; expected a class");
  EXPECT_EQ(failure("STS-B.tsv", {{{3}, std::nan("")}}),
            "STS-B.tsv: idx 3: the prediction is not finite; expected a score");
  EXPECT_EQ(failure("STS-B.tsv", {{{3}, std::numeric_limits<double>::infinity()}}),
            "STS-B.tsv: idx 3: the prediction is not finite; expected a score");
  EXPECT_EQ(failure("MultiRC.jsonl", {{{1, 2, 3}, {}}}),
            "MultiRC.jsonl: passage 1, question 2, answer 3: the prediction is not finite; expected a class");
  EXPECT_EQ(failure("ReCoRD.jsonl", {{{1, 2}, {}}}),
            "ReCoRD.jsonl: idx 2: the prediction is not finite; expected a text");
  EXPECT_EQ(failure("RTE.tsv", {{{0}, int64_t{2}}}), "RTE.tsv: idx 0: class 2; expected 0 to 1");
  EXPECT_EQ(failure("RTE.tsv", {{{5}, int64_t{0}}, {{5}, int64_t{1}}}), "RTE.tsv: idx 5: occurs twice");
}

TEST(SubmissionText, HasOneLineForEachRowOfTheOfficialSize) {
  for (const SubmissionFile& file : submission_table()) {
    const std::string lines = sample_text(file);
    EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), file.lines + (file.tsv() ? 1 : 0)) << file.name;
  }
}

TEST(ConstantRows, AreTheFirstClassTheZeroAndTheEmptyText) {
  const auto first = [](const std::string& name) {
    return text(name, {constant_rows(file_named(name), official_rows(file_named(name))).front()});
  };
  EXPECT_EQ(first("WNLI.tsv"), "index\tprediction\n0\t0\n");
  EXPECT_EQ(first("AX.tsv"), "index\tprediction\n0\tentailment\n");
  EXPECT_EQ(first("STS-B.tsv"), "index\tprediction\n0\t0.000\n");
  EXPECT_EQ(first("BoolQ.jsonl"), "{\"idx\": 0, \"label\": \"false\"}\n");
  EXPECT_EQ(first("ReCoRD.jsonl"), "{\"idx\": 0, \"label\": \"\"}\n");
  EXPECT_EQ(first("COPA.jsonl"), "{\"idx\": 0, \"label\": 0}\n");
}

TEST(ConstantRows, OfMultiRcNeedTheDump) {
  const SubmissionFile& file = file_named("MultiRC.jsonl");
  EXPECT_THROW(constant_rows(file, official_rows(file)), DataError);
  TestRows rows;
  rows.idx = {4};
  rows.passages = {{4, {{7, {1, 2}}, {8, {3}}}}};
  EXPECT_EQ(submission_text(file, constant_rows(file, rows), ""),
            "{\"idx\": 4, \"passage\": {\"questions\": [{\"idx\": 7, \"answers\": [{\"idx\": 1, \"label\": 0}, "
            "{\"idx\": 2, \"label\": 0}]}, {\"idx\": 8, \"answers\": [{\"idx\": 3, \"label\": 0}]}]}}\n");
}

}  // namespace
}  // namespace peft
