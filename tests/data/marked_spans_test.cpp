// WSC and WiC: words of a text by their number or by characters.
#include "fixtures.h"
#include "peft/data/record.h"
#include "src/data/wsc_spans.h"

namespace peft {
namespace {

std::string found(std::string_view text, std::string_view span, int64_t index) {
  const auto at = find_wsc_span(text, span, index);
  if (!at) return "(outside)";
  return fmt::format("{}{}..{}", at->matched ? "" : "!", at->begin, text.substr(at->begin, at->end - at->begin));
}

TEST(WscSpans, StandAtTheWordOfTheirIndex) {
  const std::string text = "The cat, the CAT and the cat. It slept";
  EXPECT_EQ(found(text, "the cat", 0), "0..The cat");
  EXPECT_EQ(found(text, "the cat", 2), "9..the CAT");
  EXPECT_EQ(found(text, "The cat.", 5), "21..the cat") << "without a final full stop, whatever the case";
  EXPECT_EQ(found(text, "the\ncat", 5), "21..the cat") << "a line break is a space";
  EXPECT_EQ(found(text, "it", 7), "30..It");
}

TEST(WscSpans, ElseAtTheNearestWordWhereTheyStand) {
  EXPECT_EQ(found("it a b c it d", "it", 3), "9..it");
  EXPECT_EQ(found("it a b c it d", "it", 1), "0..it");
  EXPECT_EQ(found("it a it", "IT", 1), "0..it") << "the earlier one of equally near";
}

TEST(WscSpans, ElseTheWordItself) {
  EXPECT_EQ(found("one two, three", "four", 1), "!4..two,");
  EXPECT_EQ(found("one two", "", 1), "!4..two");
  EXPECT_EQ(found("one two", ".", 0), "!0..one");
  EXPECT_EQ(found("one two", "two three", 1), "!4..two") << "beyond the end";
}

TEST(WscSpans, WordsAreSeparatedByAnyWhiteSpace) {
  EXPECT_EQ(found("  a\tb\xC2\xA0 c", "c", 2), "8..c");
  EXPECT_EQ(found("É é ÉTÉ", "été", 2), "6..ÉTÉ");
  EXPECT_EQ(found("a b", "b", 2), "(outside)");
  EXPECT_EQ(found("a b", "b", -1), "(outside)");
  EXPECT_EQ(found("", "b", 0), "(outside)");
}

TEST(CodePoints, AreNoBytes) {
  EXPECT_EQ(code_points("aéb", 1, 2), "é");
  EXPECT_EQ(code_points("aéb", 2, 3), "b");
  EXPECT_EQ(code_points("aéb", 0, 3), "aéb");
  EXPECT_EQ(code_points("aéb", 2, 4), std::nullopt);
  EXPECT_EQ(code_points("aéb", 1, 1), std::nullopt);
  EXPECT_EQ(code_points("aéb", -1, 1), std::nullopt);
  EXPECT_EQ(code_points("", 0, 1), std::nullopt);
}

class MarkedSpans : public FolderTest {
 protected:
  static std::string wsc(const std::string& target, const std::string& label = "true") {
    return R"({"text": "Ann saw Bo, and he ran.", "idx": 0, "label": )" + label + ", \"target\": " + target + "}\n";
  }
  EncodedSplit read(const std::string& task, const std::string& content) {
    write("train.jsonl", content);
    return load(task).splits.at("train");
  }
  std::string message(const std::string& task, const std::string& content) {
    write("train.jsonl", content);
    return failure(task);
  }
  static std::vector<int32_t> pair_ids(const std::string& a, const std::string& b) {
    return WordTokenizer().encode(a, b, {.max_length = 1000}).ids;
  }
};

const std::string good_target = R"({"span1_text": "Bo", "span1_index": 2, "span2_text": "he", "span2_index": 4})";

TEST_F(MarkedSpans, WscMarksThePronoun) {
  const EncodedSplit split = read("wsc", wsc(good_target));
  EXPECT_EQ(split.ids, pair_ids("Ann saw Bo, and *he* ran.", "Bo"));
  EXPECT_EQ(split.labels, (std::vector<double>{1}));
  EXPECT_TRUE(split.statistics.odd.empty());
  EXPECT_EQ(load("wsc.fixed").task.name, "superglue/wsc");
}

TEST_F(MarkedSpans, FlatRowsOfWscAreTheSame) {
  const std::string flat =
      R"({"text": "Ann saw Bo, and he ran.", "span1_text": "Bo", "span1_index": 2, "span2_text": "he", "span2_index": 4, "label": 0})";
  EXPECT_EQ(read("wsc", flat).ids, pair_ids("Ann saw Bo, and *he* ran.", "Bo"));
  std::filesystem::remove(folder_ / "train.jsonl");
  write("train.csv",
        "text,span1_text,span1_index,span2_text,span2_index,label\n\"Ann saw Bo, and he ran.\",Bo,2,he,4,True\n");
  EXPECT_EQ(load("wsc").splits.at("train").ids, pair_ids("Ann saw Bo, and *he* ran.", "Bo"));
}

TEST_F(MarkedSpans, WordsThatAreNotInTheTextAreCounted) {
  const std::string target = R"({"span1_text": "Cy", "span1_index": 2, "span2_text": "she", "span2_index": 5})";
  const EncodedSplit split = read("wsc", wsc(target));
  EXPECT_EQ(split.ids, pair_ids("Ann saw Bo, and he *ran.*", "Cy"));
  EXPECT_EQ(split.statistics.odd, (std::map<std::string, int64_t>{{"span_mismatch", 2}}));
}

TEST_F(MarkedSpans, BadWscRecordsNameTheirPath) {
  EXPECT_EQ(message("wsc", wsc(R"({"span1_text": "Bo", "span1_index": 2, "span2_text": "he", "span2_index": 6})")),
            "train.jsonl:1: span2_index 6: the text has no such word");
  EXPECT_EQ(message("wsc", wsc(R"({"span1_text": "Bo", "span1_index": "2", "span2_text": "he", "span2_index": 4})")),
            "train.jsonl:1: target.span1_index is a string, expected an integer");
  EXPECT_EQ(message("wsc", wsc(R"({"span1_text": "Bo", "span1_index": 2, "span2_index": 4})")),
            "train.jsonl:1: no key target.span2_text");
  EXPECT_EQ(message("wsc", wsc("[]")), "train.jsonl:1: target is an array, expected an object");
  EXPECT_EQ(message("wsc", wsc(good_target, "\"true\"")), "train.jsonl:1: label is a string, expected true or false");
  data.on_bad_row = "skip";
  data.max_bad_fraction = 0.5;
  const std::string bad = R"({"span1_text": "Bo", "span1_index": -1, "span2_text": "he", "span2_index": 4})";
  EXPECT_EQ(read("wsc", wsc(good_target) + wsc(bad)).statistics.skipped, (std::map<std::string, int64_t>{{"span", 1}}));
}

TEST_F(MarkedSpans, WicPutsTheWordInFrontOfBothSentences) {
  const std::string row =
      R"({"word": "run", "sentence1": "Élan: run!", "sentence2": "She ran.", "idx": 0, "label": false, "start1": 6, "end1": 9, "start2": 4, "end2": 7, "version": 1.1})";
  EXPECT_EQ(read("wic", row).ids, pair_ids("run: Élan: run!", "run: She ran."));
  EXPECT_EQ(read("wic", R"({"word": "run", "sentence1": "Run!", "sentence2": "She ran.", "label": 1})").ids,
            pair_ids("run: Run!", "run: She ran."))
      << "a file may leave the offsets out";
}

TEST_F(MarkedSpans, WicOffsetsOutsideTheSentenceAreBad) {
  const auto row = [](int start1, int end1, const std::string& start2 = "4") {
    return fmt::format(
        R"({{"word": "run", "sentence1": "É run", "sentence2": "She ran.", "label": true, "start1": {}, "end1": {}, "start2": {}, "end2": 7}})"
        "\n",
        start1, end1, start2);
  };
  EXPECT_EQ(message("wic", row(2, 5)), "");
  EXPECT_EQ(message("wic", row(2, 6)), "train.jsonl:1: start1 2 and end1 6 are no characters of sentence1");
  EXPECT_EQ(message("wic", row(3, 3)), "train.jsonl:1: start1 3 and end1 3 are no characters of sentence1");
  EXPECT_EQ(message("wic", row(2, 5, "9")), "train.jsonl:1: start2 9 and end2 7 are no characters of sentence2");
  EXPECT_EQ(message("wic", row(2, 5, "\"4\"")), "train.jsonl:1: start2 is a string, expected an integer");
  data.on_bad_row = "skip";
  data.max_bad_fraction = 0.5;
  EXPECT_EQ(read("wic", row(2, 5) + row(2, 6)).statistics.skipped, (std::map<std::string, int64_t>{{"span", 1}}));
}

}  // namespace
}  // namespace peft
