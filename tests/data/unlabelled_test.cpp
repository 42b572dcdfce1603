// Rows without labels: the same sequences as a task's own reader makes of them, whichever of its names the columns
// have.
#include "peft/data/unlabelled.h"

#include "fixtures.h"

namespace peft {
namespace {

/// The message of the DataError that `body` throws; "" when it throws none.
template <class Body>
std::string message_of(const Body& body) {
  try {
    body();
  } catch (const DataError& error) {
    return error.what();
  }
  return {};
}

ColumnsConfig named(const char* text) {
  ColumnsConfig names;
  names.text = text;
  return names;
}

class Unlabelled : public FolderTest {
 protected:
  EncodedSplit encode(const std::string& task, const std::string& name, FileFormat format, const std::string& content,
                      const ColumnsConfig& names = {}, int64_t longest = 128) {
    write(name, content);
    TaskTexts texts(task_registry().at(task), names);
    std::vector<Column> columns;
    for (const std::string& column : texts.columns()) columns.push_back({column, false});
    texts.bind(columns);
    BadRows bad(name, {});
    RowFormat row_format;
    row_format.file = format;
    row_format.quoting = format == FileFormat::csv;
    row_format.delimiter = format == FileFormat::csv ? ',' : '\t';
    const auto rows = open_rows(folder_ / name, row_format, columns, bad);
    EncodedSplit split;
    cut_ = 0;
    TaskConfig lengths;
    lengths.max_length = longest;
    for (Row row; rows->next(row);) cut_ += texts.encode(row, *rows, bad, tokenizer_, lengths, split) ? 0 : 1;
    return split;
  }
  EncodedSplit jsonl(const std::string& task, const std::string& content, const ColumnsConfig& names = {}) {
    return encode(task, "rows.jsonl", FileFormat::jsonl, content, names);
  }
  /// What the task's own reader makes of a test split with labels or without.
  EncodedSplit dataset(const std::string& task, const std::string& content) {
    write("own.jsonl", content);
    data = {};
    data.files["test"] = (folder_ / "own.jsonl").string();
    data.labels = {"a", "b"};
    if (!task_registry().at(task).labels_from_files()) data.labels.clear();
    return load_dataset(TaskConfig{task, "", max_length}, data, tokenizer_, {"test"}).splits.at("test");
  }

  WordTokenizer tokenizer_;
  int64_t cut_ = 0;
};

TEST_F(Unlabelled, SequencesAreThoseOfTheTask) {
  const std::map<std::string, std::string> rows{
      {"classification", R"({"text": "one two", "text_pair": "three"})"
                         "\n"
                         R"({"text": "four"})"},
      {"glue/rte", R"({"sentence1": "one", "sentence2": "two three"})"},
      {"multiple_choice", R"({"text": "one", "choices": ["two", "three four", "five"]})"},
      {"regression", R"({"text": "one two"})"},
      {"sst2", R"({"sentence": "one two "})"},
      {"superglue/copa", R"({"premise": "It fell.", "question": "cause", "choice1": "wind", "choice2": "a push"})"},
  };
  for (const auto& [task, content] : rows) {
    const EncodedSplit ours = jsonl(task, content), expected = dataset(task, content);
    EXPECT_EQ(ours.ids, expected.ids) << task;
    EXPECT_EQ(ours.types, expected.types) << task;
    EXPECT_EQ(ours.offsets, expected.offsets) << task;
    EXPECT_EQ(ours.sequence_offsets, expected.sequence_offsets) << task;
  }
}

TEST_F(Unlabelled, TheFirstColumnThatIsThereCounts) {
  const auto ids = [&](const std::string& text) { return jsonl("sst2", R"({"sentence": ")" + text + R"("})").ids; };
  EXPECT_EQ(jsonl("sst2", R"({"text": "one"})").ids, ids("one"));
  EXPECT_EQ(jsonl("sst2", R"({"text": "one", "sentence": "two", "label": "what?"})").ids, ids("two"));
  EXPECT_EQ(jsonl("classification", R"({"text": "one", "review": "two"})", named("review")).ids, ids("two"));
  EXPECT_EQ(jsonl("classification", R"({"text": "one"})", named("review")).ids, ids("one"));
  EXPECT_EQ(jsonl("mrpc", R"({"#1 String": "one", "text_pair": "two"})").ids,
            jsonl("mrpc", R"({"sentence1": "one", "sentence2": "two"})").ids);
  EXPECT_EQ(jsonl("classification", R"({"text": "one", "text_pair": null})").ids, ids("one"));
}

TEST_F(Unlabelled, AnotherTextThatARunNamesIsNeeded) {
  ColumnsConfig names;
  names.text_pair = "second";
  EXPECT_EQ(message_of([&] { jsonl("classification", R"({"text": "one"})", names); }),
            "rows.jsonl:1: no second; the keys are text");
  EXPECT_FALSE(TaskTexts(task_registry().at("classification"), names).one_text());
}

TEST_F(Unlabelled, MessagesNameLineAndColumn) {
  EXPECT_EQ(message_of([&] { jsonl("sst2", "{\"text\": \"a\"}\n{\"text\": [1]}\n"); }),
            "rows.jsonl:2: text is an array, expected a string");
  EXPECT_EQ(message_of([&] { jsonl("multiple_choice", R"({"text": "a", "choices": []})"); }),
            "rows.jsonl:1: choices is an empty list, expected a list of strings");
  EXPECT_EQ(message_of([&] { jsonl("multiple_choice", R"({"text": "a", "choices": ["b", 1]})"); }),
            "rows.jsonl:1: choices[1] is an integer, expected a string");
  EXPECT_EQ(message_of([&] {
              jsonl("superglue/copa", R"({"premise": "a", "question": "why", "choice1": "b", "choice2": "c"})");
            }),
            "rows.jsonl:1: question \"why\"; expected one of cause, effect");
}

TEST_F(Unlabelled, TextsOfATaskAreToldForMessages) {
  const auto texts = [](const char* task) { return TaskTexts(task_registry().at(task), {}); };
  EXPECT_EQ(texts("classification").wanted(), "text");
  EXPECT_EQ(texts("sst2").wanted(), "sentence (or text)");
  EXPECT_EQ(texts("multiple_choice").wanted(), "text, choices");
  for (const char* task : {"classification", "sst2", "regression"}) EXPECT_TRUE(texts(task).one_text()) << task;
  for (const char* task : {"mrpc", "multiple_choice", "superglue/copa"}) EXPECT_FALSE(texts(task).one_text()) << task;
  EXPECT_TRUE(texts("mrpc").found_in({"label", "text_pair", "sentence1"}));
  EXPECT_FALSE(texts("mrpc").found_in({"sentence1", "label"}));
}

TEST_F(Unlabelled, PlainLinesAreTexts) {
  const EncodedSplit split = encode("sst2", "a.txt", FileFormat::lines, "one two\r\n {\"text\": 1}\nthree\n\n", {}, 3);
  EXPECT_EQ(split.size(), 3);
  EXPECT_EQ(split.sequence_length(0), 3);
  EXPECT_EQ(split.sequence_length(2), 3);
  EXPECT_EQ(cut_, 2);
  EXPECT_EQ(message_of([&] { encode("sst2", "a.txt", FileFormat::lines, "one\n\ntwo\n"); }),
            "a.txt:2: empty line, expected a text");
}

}  // namespace
}  // namespace peft
