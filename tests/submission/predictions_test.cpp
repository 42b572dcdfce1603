#include "peft/submission/predictions.h"

#include <gtest/gtest.h>

#include "peft/base/error.h"
#include "tests/submission/samples.h"

namespace peft {
namespace {

/// One sequence each, idx 10, 11, ...
EncodedSplit split_of(int64_t examples, const std::string& name = "test") {
  EncodedSplit split;
  split.name = name;
  split.hidden = true;
  for (int64_t e = 0; e < examples; ++e) {
    const std::vector<int32_t> ids{1, 2};
    split.add_sequence(ids, std::vector<uint8_t>{0, 0});
    split.end_example(Target(), 10 + e);
  }
  return split;
}

std::string text(const std::string& name, const EncodedSplit& split, const std::vector<Target>& predictions) {
  return submission_text(file_named(name), predicted_rows(file_named(name), split, predictions), "x");
}

TEST(PredictedRows, AreClassesChoicesAndScores) {
  EXPECT_EQ(text("RTE.tsv", split_of(2), {int64_t{1}, int64_t{0}}),
            "index\tprediction\n10\tnot_entailment\n11\tentailment\n");
  EXPECT_EQ(text("STS-B.tsv", split_of(1), {2.5}), "index\tprediction\n10\t2.500\n");
  EXPECT_EQ(text("COPA.jsonl", split_of(1), {int64_t{1}}), "{\"idx\": 10, \"label\": 1}\n");
}

TEST(PredictedRows, KeepInvalidPredictionsForTheWriterToRefuse) {
  const auto rows = predicted_rows(file_named("RTE.tsv"), split_of(2), std::vector<Target>{int64_t{1}, Target()});
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_TRUE(std::holds_alternative<std::monostate>(rows[1].prediction));
  EXPECT_THROW(submission_text(file_named("RTE.tsv"), rows, "x"), DataError);
}

TEST(PredictedRows, AreThoseOfTheFilesPart) {
  EncodedSplit split = split_of(3);
  split.part_names = {"matched", "mismatched"};
  split.parts = {0, 1, 0};
  const std::vector<Target> predictions{int64_t{0}, int64_t{1}, int64_t{2}};
  EXPECT_EQ(text("MNLI-m.tsv", split, predictions), "index\tprediction\n10\tentailment\n12\tcontradiction\n");
  EXPECT_EQ(text("MNLI-mm.tsv", split, predictions), "index\tprediction\n11\tneutral\n");
  // One part asked for alone.
  EXPECT_EQ(text("MNLI-mm.tsv", split_of(1, "test_mismatched"), {int64_t{0}}), "index\tprediction\n10\tentailment\n");
  EXPECT_TRUE(predicted_rows(file_named("MNLI-m.tsv"), split_of(1, "test_mismatched"), predictions).empty());
}

TEST(PredictedRows, HaveTheNumbersOfWhatHoldsThem) {
  EncodedSplit split = split_of(2);
  split.outer_idx = {0, 3, 0, 4};
  EXPECT_EQ(text("MultiRC.jsonl", split, {int64_t{1}, int64_t{0}}),
            "{\"idx\": 0, \"passage\": {\"questions\": [{\"idx\": 3, \"answers\": [{\"idx\": 10, \"label\": 1}]}, "
            "{\"idx\": 4, \"answers\": [{\"idx\": 11, \"label\": 0}]}]}}\n");
  split.statistics.files = {"data/test.jsonl"};
  split.outer_idx.clear();
  try {
    text("MultiRC.jsonl", split, {int64_t{1}, int64_t{0}});
    FAIL();
  } catch (const DataError& error) {
    EXPECT_STREQ(error.what(), "data/test.jsonl: idx has 1 numbers; expected the 3 that MultiRC.jsonl names");
  }
}

TEST(PredictedRows, AreTheTextsOfTheChosenCandidates) {
  EncodedSplit split;
  split.name = "test";
  split.target_kind = TargetKind::choices;
  for (int64_t e = 0; e < 2; ++e) {
    for (int s = 0; s < 2; ++s) split.add_sequence(std::vector<int32_t>{1}, std::vector<uint8_t>{0});
    split.end_example(Target(), e);
    split.add_outer_idx(std::vector<int64_t>{7});
  }
  split.candidates = {"Ann", "Bob", "Cy", "Di"};
  EXPECT_EQ(text("ReCoRD.jsonl", split, {int64_t{1}, int64_t{0}}),
            "{\"idx\": 0, \"label\": \"Bob\"}\n{\"idx\": 1, \"label\": \"Cy\"}\n");
}

}  // namespace
}  // namespace peft
