// docs/tasks.md#reading-rules: what is text, what is a line, what is a label.
#include <cmath>

#include "fixtures.h"
#include "peft/data/examples.h"
#include "peft/data/lines.h"

namespace peft {
namespace {

struct Text {
  std::string text, text_pair;
  double label;
  bool operator==(const Text&) const = default;
};

double number(const Target& target) {
  if (const auto* id = std::get_if<int64_t>(&target)) return static_cast<double>(*id);
  const auto* score = std::get_if<double>(&target);
  return score != nullptr ? *score : std::nan("");
}

class Reading : public FolderTest {
 protected:
  std::vector<Text> read(const std::string& task, const std::string& file, const std::string& content,
                         const std::vector<std::string>& labels, const std::string& split = "train") {
    write(file, content);
    const TaskSpec& spec = task_registry().at(task);
    const auto files = find_split_files(spec, {task, folder_.string()}, data, {split});
    ExampleReader reader({spec, data, split, files.at(split), labels});
    std::vector<Text> rows;
    Example example;
    while (reader.next(example))
      rows.push_back({std::string(example.texts.at(0)),
                      std::string(example.texts.size() > 1 ? example.texts.at(1) : ""), number(example.target)});
    return rows;
  }
  std::vector<Text> sst2(const std::string& content) {
    return read("sst2", "train.tsv", content, {"negative", "positive"});
  }
};

TEST_F(Reading, LinesEndAtLineFeedOnly) {
  const auto rows = sst2(
      "sentence\tlabel\r\na\xE2\x80\xA8"
      "b\xC2\x85"
      "c\vd\fe\rf \t1\r\nlast\t0");
  EXPECT_EQ(rows, (std::vector<Text>{{"a\xE2\x80\xA8"
                                      "b\xC2\x85"
                                      "c\vd\fe\rf ",
                                      "", 1},
                                     {"last", "", 0}}));
}

TEST_F(Reading, ByteOrderMarkIsDroppedAndOneEmptyLineAtTheEndIsFine) {
  EXPECT_EQ(sst2("\xEF\xBB\xBFsentence\tlabel\nx\t1\n\n").size(), 1U);
}

TEST_F(Reading, GlueTsvHasNoQuoting) {
  EXPECT_EQ(sst2("sentence\tlabel\n\"odd \\t quote\t1\n\"\"\t0\n"),
            (std::vector<Text>{{"\"odd \\t quote", "", 1}, {"\"\"", "", 0}}));
}

TEST_F(Reading, ColumnsAreFoundByName) {
  EXPECT_EQ(read("glue/rte", "train.tsv", "label\textra\tsentence2\tsentence1\nnot_entailment\tx\tB\tA\n",
                 {"entailment", "not_entailment"}),
            (std::vector<Text>{{"A", "B", 1}}));
}

TEST_F(Reading, ColaTrainHasNoHeaderAndTestMayBeEitherShape) {
  const std::vector<std::string> labels{"unacceptable", "acceptable"};
  EXPECT_EQ(read("cola", "train.tsv", "gj04\t1\t\tFine.\ngj04\t0\t*\tNot.\n", labels),
            (std::vector<Text>{{"Fine.", "", 1}, {"Not.", "", 0}}));
  const auto hidden = read("cola", "test.tsv", "index\tsentence\n0\tFine.\n", labels, "test");
  EXPECT_TRUE(hidden.size() == 1 && hidden[0].text == "Fine." && std::isnan(hidden[0].label));
  EXPECT_EQ(read("cola", "test.tsv", "gj04\t1\t\tFine.\n", labels, "test"), (std::vector<Text>{{"Fine.", "", 1}}));
}

TEST_F(Reading, CsvQuotesSpanLinesAndKeepCarriageReturns) {
  const auto rows = read("classification", "train.csv",
                         "text,label\r\n\"a, \"\"b\"\"\r\nc\nd\",0\r\nplain \"quote\",1\r\n\"\",0\r\n", {"x", "y"});
  EXPECT_EQ(rows, (std::vector<Text>{{"a, \"b\"\r\nc\nd", "", 0}, {"plain \"quote\"", "", 1}, {"", "", 0}}));
}

TEST_F(Reading, OwnTsvHasQuotesOnlyWhenAskedFor) {
  const std::string content = "text\tlabel\n\"a\"\tx\n";
  EXPECT_EQ(read("classification", "train.tsv", content, {"x"})[0].text, "\"a\"");
  data.quoting = "csv";
  EXPECT_EQ(read("classification", "train.tsv", content, {"x"})[0].text, "a");
}

TEST_F(Reading, OwnDelimiterAndColumnNames) {
  data.delimiter = ";";
  data.columns.text = "review";
  data.columns.label = "stars";
  EXPECT_EQ(read("classification", "train.csv", "stars;review\n2;a,b\n", {"1", "2"}),
            (std::vector<Text>{{"a,b", "", 1}}));
}

TEST_F(Reading, JsonKeysMayBeNestedAndEscaped) {
  data.columns.text = "body.text";
  EXPECT_EQ(read("classification", "train.jsonl",
                 "{\"label\": true, \"body\": {\"text\": \"\\ud83d\\ude00\\t\\\"\\u0000\"}, \"more\": [1]}\n",
                 {"false", "true"}),
            (std::vector<Text>{{std::string("\xF0\x9F\x98\x80\t\"\0", 7), "", 1}}));
}

TEST_F(Reading, NumbersIndexNamesUnlessNamesAreNumbers) {
  const std::string content = "text,label\na,1\n";
  EXPECT_EQ(read("classification", "train.csv", content, {"bad", "good"})[0].label, 1);
  EXPECT_EQ(read("classification", "train.csv", content, {"1", "2"})[0].label, 0);
  EXPECT_THROW(read("classification", "train.csv", "text,label\na,0\n", {"1", "2"}), DataError);
  EXPECT_EQ(read("classification", "train.csv", "text,label\na,-1\n", {"-1", "1"})[0].label, 0)
      << "a name, not a hidden label";
}

TEST_F(Reading, FilesOfTheDatasetsLibraryHaveItsColumnNames) {
  EXPECT_EQ(read("mrpc", "train.jsonl", "{\"sentence1\": \"A\", \"sentence2\": \"B\", \"label\": 1, \"idx\": 7}\n",
                 {"not_equivalent", "equivalent"}),
            (std::vector<Text>{{"A", "B", 1}}));
  const auto hidden = read("stsb", "test.jsonl",
                           "{\"sentence1\": \"A\", \"sentence2\": \"B\", \"label\": -1.0, \"idx\": 7}\n", {}, "test");
  EXPECT_TRUE(std::isnan(hidden.at(0).label));
}

TEST_F(Reading, JsonFileMayHoldAnArrayOrLines) {
  const std::vector<Text> expected{{"a", "", 0}, {"], [\"", "", 1}};
  EXPECT_EQ(read("classification", "train.json",
                 "\n [ {\"text\": \"a\", \"label\": 0}\n, {\"text\": \"], [\\\"\", \"label\": 1}\n]\n", {"0", "1"}),
            expected);
  EXPECT_EQ(read("classification", "train.json",
                 "{\"text\": \"a\", \"label\": 0}\n{\"text\": \"], [\\\"\", \"label\": 1}\n", {"0", "1"}),
            expected);
}

TEST_F(Reading, LongLinesArePassedOverWithoutBeingHeld) {
  const std::string path = write("lines", std::string(3 << 20, 'x') + "\nshort\n" + std::string(100, 'y'));
  LineReader lines(path, 50);
  ASSERT_TRUE(lines.next());
  EXPECT_TRUE(lines.too_long());
  ASSERT_TRUE(lines.next());
  EXPECT_EQ(lines.text(), "short");
  EXPECT_EQ(lines.line(), 2);
  ASSERT_TRUE(lines.next());
  EXPECT_TRUE(lines.too_long());
  EXPECT_FALSE(lines.next());
  EXPECT_EQ(lines.content_hash(), hash_file(path));
}

TEST_F(Reading, LinesAcrossBlocksAreWhole) {
  std::string content;
  for (int i = 0; i < 2000; ++i)
    content += std::string(static_cast<std::size_t>(i * 37 % 1999), static_cast<char>('a' + i % 26)) + "\n";
  LineReader lines(write("lines", content));
  std::string joined;
  while (lines.next()) {
    joined += lines.text();
    joined += lines.ending();
  }
  EXPECT_EQ(joined, content);
}

TEST_F(Reading, FileThatGrowsWhileItIsReadIsAnError) {
  const std::string path = write("lines", std::string(2 << 20, '\n'));
  LineReader lines(path);
  ASSERT_TRUE(lines.next());
  std::ofstream(path, std::ios::app) << "more\n";
  EXPECT_THROW(while (lines.next()){}, DataError);
}

}  // namespace
}  // namespace peft
