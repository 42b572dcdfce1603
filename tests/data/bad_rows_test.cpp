// The table of docs/tasks.md#bad-input, row by row: message, kind, and error or counted skip.
#include "fixtures.h"

namespace peft {
namespace {

using namespace std::string_literals;

struct BadRow {
  std::string name, task, file, content, message, kind;
};

const std::string rte_head = "index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n";
const std::string sst2_head = "sentence\tlabel\ngood film \t1\n";

std::vector<BadRow> bad_rows() {
  return {
      {"columns", "rte", "train.tsv", rte_head + "1\ta\tb\n2\ta\tb\tentailment\n",
       "train.tsv:3: 3 columns, expected 4 (index, sentence1, sentence2, label)", "columns"},
      {"cola columns", "cola", "train.tsv", "x\t1\t\tA sentence.\nx\t1\tA sentence.\n",
       "train.tsv:2: 3 columns, expected 4 (source, label, mark, sentence)", "columns"},
      {"label", "rte", "train.tsv", rte_head + "1\ta\tb\tperhaps\n",
       "train.tsv:3: label \"perhaps\"; expected one of entailment, not_entailment", "label"},
      {"label spelled as in another file", "sst2", "train.tsv", sst2_head + "x\tpositive\n",
       "train.tsv:3: label \"positive\"; expected one of 0, 1", "label"},
      {"hidden label", "sst2", "train.tsv", sst2_head + "x\t-1\n",
       "train.tsv:3: no label; expected one in every row of train", "no_label"},
      {"missing label", "classification", "train.jsonl", "{\"text\": \"a\", \"label\": 0}\n{\"text\": \"a\"}\n",
       "train.jsonl:2: no label; expected one in every row of train", "no_label"},
      {"not a score", "regression", "train.csv", "text,label\na,1\nb,many\n",
       "train.csv:3: score \"many\"; expected a finite number", "score"},
      {"NaN score", "regression", "train.csv", "text,label\na,1\nb,nan\n",
       "train.csv:3: score \"nan\"; expected a finite number", "score"},
      {"infinite score", "regression", "train.csv", "text,label\na,1\nb,inf\n",
       "train.csv:3: score \"inf\"; expected a finite number", "score"},
      {"invalid UTF-8", "sst2", "train.tsv", sst2_head + "a long text here\xFF\t1\n",
       "train.tsv:3: byte 17: invalid UTF-8 (0xff)", "encoding"},
      {"surrogate", "sst2", "train.tsv", sst2_head + "\xED\xA0\x80\t1\n", "train.tsv:3: byte 1: invalid UTF-8 (0xed)",
       "encoding"},
      {"overlong", "sst2", "train.tsv", sst2_head + "\xC0\x80\t1\n", "train.tsv:3: byte 1: invalid UTF-8 (0xc0)",
       "encoding"},
      {"NUL", "sst2", "train.tsv", sst2_head + "ab\0\t1\n"s, "train.tsv:3: byte 3: NUL", "encoding"},
      {"empty line", "sst2", "train.tsv", sst2_head + "\nx\t1\n", "train.tsv:3: empty line", "empty_line"},
      {"empty line of JSON", "classification", "train.jsonl",
       "{\"text\": \"a\", \"label\": 0}\n\n{\"text\": \"a\", \"label\": 0}\n", "train.jsonl:2: empty line",
       "empty_line"},
      {"long line", "sst2", "train.tsv", sst2_head + std::string(2000, 'x') + "\t1\nx\t1\n",
       "train.tsv:3: longer than 1000 bytes (data.max_line_bytes)", "long_line"},
      {"long CSV record", "classification", "train.csv",
       "text,label\na,0\n\"" + std::string(600, 'x') + "\n" + std::string(600, 'x') + "\",0\nb,0\n",
       "train.csv:3: longer than 1000 bytes (data.max_line_bytes)", "long_line"},
      {"JSON syntax", "classification", "train.jsonl",
       "{\"text\": \"a\", \"label\": 0}\n{\"text\": \"a\" \"label\": 0}\n", "train.jsonl:2: column ", "json"},
      {"text after the object", "classification", "train.jsonl",
       "{\"text\": \"a\", \"label\": 0}\n{\"text\": \"a\", \"label\": 0} 1\n", "train.jsonl:2: column ", "json"},
      {"not an object", "classification", "train.jsonl", "{\"text\": \"a\", \"label\": 0}\n[1]\n",
       "train.jsonl:2: column 1: an array, expected an object", "json"},
      {"duplicate key", "classification", "train.jsonl",
       "{\"text\": \"a\", \"label\": 0}\n{\"text\": \"a\", \"text\": \"b\", \"label\": 0}\n", "train.jsonl:2: column ",
       "json"},
      {"NaN in JSON", "regression", "train.jsonl",
       "{\"text\": \"a\", \"label\": 0}\n{\"text\": \"a\", \"label\": NaN}\n", "train.jsonl:2: column ", "json"},
      {"lone surrogate", "classification", "train.jsonl",
       "{\"text\": \"a\", \"label\": 0}\n{\"text\": \"\\ud800\", \"label\": 0}\n", "train.jsonl:2: column ", "json"},
      {"number for text", "classification", "train.jsonl",
       "{\"text\": \"a\", \"label\": 0}\n{\"text\": 5, \"label\": 0}\n",
       "train.jsonl:2: text is an integer, expected a string", "type"},
      {"null for text", "classification", "train.jsonl",
       "{\"text\": \"a\", \"label\": 0}\n{\"text\": null, \"label\": 0}\n",
       "train.jsonl:2: text is null, expected a string", "type"},
      {"list for label", "classification", "train.jsonl",
       "{\"text\": \"a\", \"label\": 0}\n{\"text\": \"a\", \"label\": [0]}\n",
       "train.jsonl:2: label is an array, expected a string, an integer or a boolean", "type"},
      {"string for score", "regression", "train.jsonl",
       "{\"text\": \"a\", \"label\": 0}\n{\"text\": \"a\", \"label\": \"1\"}\n",
       "train.jsonl:2: label is a string, expected a number", "type"},
      {"missing key", "classification", "train.jsonl",
       "{\"text\": \"a\", \"label\": 0}\n{\"txt\": \"a\", \"label\": 0}\n",
       "train.jsonl:2: no key text; the keys are label, txt", "missing"},
      {"bad index", "rte", "train.tsv", rte_head + "x\ta\tb\tentailment\n",
       "train.tsv:3: index is \"x\", expected an integer", "type"},
      {"text after a quote", "classification", "train.csv", "text,label\na,0\n\"b\"c,0\n",
       "train.csv:3: column 4: text after a closing quote", "quote"},
  };
}

class BadInput : public FolderTest {};

TEST_F(BadInput, StopsAtTheFirstBadRow) {
  for (const BadRow& row : bad_rows()) {
    SetUp();
    write(row.file, row.content);
    data = {};
    data.max_line_bytes = 1000;
    EXPECT_EQ(failure(row.task).substr(0, row.message.size()), row.message) << row.name;
  }
}

TEST_F(BadInput, SkipCountsTheRowByKind) {
  for (const BadRow& row : bad_rows()) {
    SetUp();
    write(row.file, row.content);
    data = {};
    data.max_line_bytes = 1000;
    data.on_bad_row = "skip";
    data.max_bad_fraction = 0.9;
    const Dataset dataset = load(row.task);
    EXPECT_EQ(dataset.splits.at("train").statistics.skipped, (std::map<std::string, int64_t>{{row.kind, 1}}))
        << row.name;
    EXPECT_GE(dataset.splits.at("train").size(), 1) << row.name;
  }
}

TEST_F(BadInput, TooManyBadRowsAreAnErrorWithSkipToo) {
  data.on_bad_row = "skip";
  write("train.tsv", sst2_head + "x\t5\n");
  EXPECT_EQ(failure("sst2"), "train.tsv: 1 of 2 rows are bad (label 1), more than data.max_bad_fraction 0.01");
}

TEST_F(BadInput, TestRowsOfABenchmarkAreNeverSkipped) {
  data.on_bad_row = "skip";
  data.max_bad_fraction = 1;
  write("test.tsv", "index\tsentence\n0\ta\n1\n");
  EXPECT_EQ(failure("sst2", {"test"}), "test.tsv:3: 1 columns, expected 2 (index, sentence)");
}

TEST_F(BadInput, StsbScoresLieBetweenZeroAndFive) {
  const std::string head = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n";
  write("train.tsv", head + "0\tg\tf\ty\to\ts\ts\ta\tb\t5.1\n");
  EXPECT_EQ(failure("stsb"), "train.tsv:2: score \"5.1\"; expected a number from 0 to 5");
  write("train.tsv", head + "0\tg\tf\ty\to\ts\ts\ta\tb\t3.8\n1\tg\tf\ty\to\ts\ts\ta\tb\t4\n");
  EXPECT_EQ(load("stsb").splits.at("train").labels, (std::vector<double>{double(3.8F), 4.0}));
}

TEST_F(BadInput, WrongHeaders) {
  write("train.tsv", "sentence\tstars\na\t1\n");
  EXPECT_EQ(failure("sst2"), "train.tsv:1: header sentence, stars; expected sentence, label");
  write("train.tsv", "a fine film\t1\nbad\t0\n");
  EXPECT_EQ(failure("sst2"), "train.tsv:1: header a fine film, 1; expected sentence, label (line 1 looks like data)");
  write("train.tsv", "sen\xFFtence\tlabel\na\t1\n");
  EXPECT_EQ(failure("sst2"), "train.tsv:1: byte 4: invalid UTF-8 (0xff)");
  write("train.tsv", "sentence\tlabel\na\t1\n");
  EXPECT_EQ(failure("cola").substr(0, 71), "train.tsv:1: header sentence, label; expected no header but rows of sou");
}

TEST_F(BadInput, EmptyFiles) {
  for (const char* content : {"", "\n", "\xEF\xBB\xBF", "sentence\tlabel\n", "sentence\tlabel\n\n"}) {
    write("train.tsv", content);
    EXPECT_EQ(failure("sst2"), "train.tsv: no examples") << content;
  }
}

TEST_F(BadInput, WideEncodingsAreNamed) {
  write("train.tsv", "\xFF\xFEs\0e\0"s);
  EXPECT_EQ(failure("sst2"), "train.tsv: looks like UTF-16; convert to UTF-8");
}

TEST_F(BadInput, DuplicateIndexNamesBothLines) {
  write("train.tsv", rte_head + "1\ta\tb\tentailment\n0\tc\td\tentailment\n");
  EXPECT_EQ(failure("rte"), "train.tsv:4: index 0 already stands in line 2");
}

TEST_F(BadInput, UnclosedQuoteNamesItsLine) {
  write("train.csv", "text,label\na,0\nb \"quoted\",0\n\"c,0\nd,1\n");
  EXPECT_EQ(failure("classification"), "train.csv:4: quote is never closed");
}

TEST_F(BadInput, MixedHiddenAndVisibleTestLabels) {
  data.labels = {"no", "yes"};
  write("test.csv", "text,label\na,-1\nb,yes\n");
  EXPECT_EQ(failure("classification", {"test"}),
            "test.csv:2: no label, but line 3 has one; expected labels in all examples or in none");
}

TEST_F(BadInput, DevClassesThatTrainDoesNotHave) {
  write("train.csv", "text,label\na,x\nb,y\n");
  write("dev.csv", "text,label\na,z\n");
  EXPECT_EQ(failure("classification", {"train", "dev"}), "dev.csv:2: label \"z\"; expected one of x, y");
}

TEST_F(BadInput, JsonArrays) {
  write("train.json", "[\n{\"text\": \"a\", \"label\": 0},\n{\n\"text\": 5, \"label\": 0}]");
  EXPECT_EQ(failure("classification"), "train.json:3: text is an integer, expected a string");
  write("train.json", "[\n{\"text\": \"a\", \"label\": 0},\n{\n\"text\" 5}\n]");
  EXPECT_EQ(failure("classification").substr(0, 21), "train.json:4: column ");
  write("train.json", "[{\"text\": \"a\", \"label\": 0}");
  EXPECT_EQ(failure("classification"), "train.json:1: the array ends inside this value");
  write("train.json", "[{\"text\": \"a\", \"label\": 0}]\n5\n");
  EXPECT_EQ(failure("classification"), "train.json:2: text after the end of the array");
  write("train.json", "[]");
  EXPECT_EQ(failure("classification"), "train.json: no examples");
}

}  // namespace
}  // namespace peft
