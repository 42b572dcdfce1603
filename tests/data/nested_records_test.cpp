// MultiRC and ReCoRD: records that hold many examples, and their flat twins as the datasets library writes them.
#include "fixtures.h"
#include "peft/base/rng.h"
#include "peft/data/report.h"
#include "peft/data/task.h"

namespace peft {
namespace {

using Odd = std::map<std::string, int64_t>;

class NestedRecords : public FolderTest {
 protected:
  EncodedSplit read(const std::string& task, const std::string& content, const std::string& split = "train") {
    write(split + ".jsonl", content);
    return load(task, {split}).splits.at(split);
  }
  std::string message(const std::string& task, const std::string& content, const std::string& split = "train") {
    write(split + ".jsonl", content);
    return failure(task, {split});
  }
  static std::vector<int32_t> pair_ids(const std::string& a, const std::string& b) {
    return WordTokenizer().encode(a, b, {.max_length = 1000}).ids;
  }
  static std::vector<int32_t> ids_of(const EncodedSplit& split, int64_t s) {
    return {split.sequence_ids(s).begin(), split.sequence_ids(s).end()};
  }
  static std::string lines(const std::vector<Json>& records) {
    std::string text;
    for (const Json& record : records) text += record.dump() + "\n";
    return text;
  }
};

Json passage(int64_t idx, int64_t first_question, int64_t first_answer) {
  return Json::parse(fmt::format(
      R"({{"idx": {}, "version": 1.1, "passage": {{"text": "p p p", "questions": [
          {{"question": "who?", "idx": {}, "answers": [{{"text": "a", "idx": {}, "label": 1}}, {{"text": "b", "idx": {}, "label": 0}}]}},
          {{"question": "why?", "idx": {}, "answers": [{{"text": "", "idx": {}, "label": 0}}]}}]}}}})",
      idx, first_question, first_answer, first_answer + 1, first_question + 1, first_answer + 2));
}

TEST_F(NestedRecords, MultircIsOneExampleAnAnswer) {
  write("MultiRC/train.jsonl", lines({passage(0, 0, 0), passage(1, 2, 3)}));
  const Dataset dataset = load("multirc");
  EXPECT_EQ(dataset.task.idx_names, (std::vector<std::string>{"paragraph", "question", "answer"}));
  const EncodedSplit& split = dataset.splits.at("train");
  EXPECT_EQ(split.size(), 6);
  EXPECT_EQ(split.idx, (std::vector<int64_t>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(split.outer_idx, (std::vector<int64_t>{0, 0, 0, 0, 0, 1, 1, 2, 1, 2, 1, 3}));
  EXPECT_EQ(split.groups, (std::vector<int64_t>{0, 0, 1, 2, 2, 3}));
  EXPECT_EQ(split.labels, (std::vector<double>{1, 0, 0, 1, 0, 0}));
  EXPECT_EQ(ids_of(split, 1), pair_ids("p p p", "who? b"));
  EXPECT_EQ(ids_of(split, 2), pair_ids("p p p", "why? "));
  EXPECT_EQ(std::vector<int64_t>(split.example_outer_idx(5).begin(), split.example_outer_idx(5).end()),
            (std::vector<int64_t>{1, 3}));
}

TEST_F(NestedRecords, MultircTestRowsAreHidden) {
  Json record = passage(0, 0, 0);
  for (Json& question : record["passage"]["questions"])
    for (Json& answer : question["answers"]) answer.erase("label");
  const EncodedSplit split = read("multirc", record.dump(), "test");
  EXPECT_TRUE(split.hidden);
  EXPECT_EQ(split.size(), 3);
}

TEST_F(NestedRecords, FlatRowsOfMultircAreTheSame) {
  const EncodedSplit nested = read("multirc", lines({passage(0, 0, 0)}));
  const std::string flat =
      R"({"paragraph": "p p p", "question": "who?", "answer": "a", "idx": {"paragraph": 0, "question": 0, "answer": 0}, "label": 1})"
      "\n"
      R"({"paragraph": "p p p", "question": "who?", "answer": "b", "idx": {"paragraph": 0, "question": 0, "answer": 1}, "label": 0})"
      "\n"
      R"({"paragraph": "p p p", "question": "why?", "answer": "", "idx": {"paragraph": 0, "question": 1, "answer": 2}, "label": 0})"
      "\n";
  const EncodedSplit split = read("multirc", flat);
  EXPECT_EQ(split.ids, nested.ids);
  EXPECT_EQ(split.labels, nested.labels);
  EXPECT_EQ(split.groups, nested.groups);
  EXPECT_EQ(split.idx, nested.idx);
  EXPECT_EQ(split.outer_idx, nested.outer_idx);
}

TEST_F(NestedRecords, AnswersMayBeNumberedAnewInEveryQuestion) {
  Json record = passage(0, 0, 0);
  record["passage"]["questions"][1]["answers"][0]["idx"] = 0;
  EXPECT_EQ(read("multirc", record.dump()).idx, (std::vector<int64_t>{0, 1, 0}));
  record["passage"]["questions"][0]["answers"][1]["idx"] = 0;
  EXPECT_EQ(message("multirc", record.dump()).substr(0, 51), "train.jsonl:1: idx.answer 0 already stands in line ");
}

TEST_F(NestedRecords, MessagesNameTheWholePath) {
  const auto changed = [&](const std::string& pointer, const Json& value) {
    Json record = passage(1, 2, 3);
    record[Json::json_pointer(pointer)] = value;
    return message("multirc", lines({passage(0, 0, 0), record}));
  };
  EXPECT_EQ(changed("/passage/questions/1/answers/0/label", "1"),
            "train.jsonl:2: passage.questions[1].answers[0].label is a string, expected 0 or 1");
  EXPECT_EQ(changed("/passage/questions/0/answers/1/label", 2),
            "train.jsonl:2: passage.questions[0].answers[1].label 2; expected 0 or 1");
  EXPECT_EQ(changed("/passage/questions/0/answers/1/label", nullptr),
            "train.jsonl:2: passage.questions[0].answers[1].label is null, expected 0 or 1");
  EXPECT_EQ(changed("/passage/questions/0/answers", "a"),
            "train.jsonl:2: passage.questions[0].answers is a string, expected an array");
  EXPECT_EQ(changed("/passage/questions/0/answers/1/text", 5),
            "train.jsonl:2: passage.questions[0].answers[1].text is an integer, expected a string");
  EXPECT_EQ(changed("/passage/questions/0", Json::object()), "train.jsonl:2: no key passage.questions[0].question");
  EXPECT_EQ(changed("/passage/questions/0", 7),
            "train.jsonl:2: passage.questions[0] is an integer, expected an object");
  EXPECT_EQ(changed("/passage", "p"), "train.jsonl:2: passage is a string, expected an object");
  EXPECT_EQ(changed("/idx", "1"), "train.jsonl:2: idx is a string, expected an integer");
  EXPECT_EQ(changed("/passage/questions/0/answers/1/label", true), "") << "a boolean is 0 or 1";
  EXPECT_EQ(changed("/passage/questions/0/answers/1/label", 1.0), "") << "and so is a whole number";
}

TEST_F(NestedRecords, ABadPassageIsOneSkippedRow) {
  Json bad = passage(1, 2, 3);
  bad["passage"]["questions"][1]["answers"][0]["label"] = "0";
  data.on_bad_row = "skip";
  data.max_bad_fraction = 0.2;
  const EncodedSplit split = read("multirc", lines({passage(0, 0, 0), bad, passage(2, 4, 6)}));
  EXPECT_EQ(split.size(), 6);
  EXPECT_EQ(split.statistics.skipped, (Odd{{"type", 1}}));
}

TEST_F(NestedRecords, EmptyListsAreCounted) {
  Json none = passage(1, 2, 3), few = passage(2, 4, 6);
  none["passage"]["questions"] = Json::array();
  few["passage"]["questions"][0]["answers"] = Json::array();
  const EncodedSplit split = read("multirc", lines({passage(0, 0, 0), none, few}));
  EXPECT_EQ(split.size(), 4);
  EXPECT_EQ(split.statistics.odd, (Odd{{"no_answers", 1}, {"no_questions", 1}}));
  EXPECT_TRUE(split.statistics.skipped.empty());
  Dataset dataset;
  dataset.splits["train"] = split;
  EXPECT_EQ(describe_splits(dataset)["train"]["odd"], (Json{{"no_answers", 1}, {"no_questions", 1}}));
}

// "Für" has a character of two bytes: offsets count characters, and an entity's last one is included.
Json article() {
  return Json::parse(
      R"({"idx": 3, "source": "x", "passage": {"text": "Für Ann met Bob.\n@highlight\nBob met Für\n@highlight\nend",
      "entities": [{"start": 4, "end": 6}, {"start": 12, "end": 14}, {"start": 28, "end": 30}, {"start": 0, "end": 2}]},
      "qas": [{"query": "Then @placeholder left", "idx": 8, "answers": [{"start": 12, "end": 14, "text": "Bob"}, {"start": 28, "end": 30, "text": "Bob"}]},
              {"query": "@placeholder stayed", "idx": 9, "answers": [{"start": 4, "end": 6, "text": "Ann"}, {"start": 0, "end": 2, "text": "Für"}]}]})");
}

TEST_F(NestedRecords, RecordIsOneExampleAQueryAndOneSequenceAnEntity) {
  write("ReCoRD/val.jsonl", lines({article()}));
  const Dataset dataset = load("record", {"dev"});
  EXPECT_EQ(dataset.task.idx_names, (std::vector<std::string>{"passage", "query"}));
  const EncodedSplit& split = dataset.splits.at("dev");
  EXPECT_EQ(split.sequence_offsets, (std::vector<int64_t>{0, 3, 6}));
  EXPECT_EQ(split.candidates, (std::vector<std::string>{"Ann", "Bob", "Für", "Ann", "Bob", "Für"}));
  EXPECT_EQ(split.references, (std::vector<std::vector<std::string>>{{"Bob"}, {"Ann", "Für"}}));
  EXPECT_EQ(split.target(0), Target(std::vector<int64_t>{1}));
  EXPECT_EQ(split.target(1), Target(std::vector<int64_t>{0, 2}));
  EXPECT_EQ(split.idx, (std::vector<int64_t>{8, 9}));
  EXPECT_EQ(split.outer_idx, (std::vector<int64_t>{3, 3}));
  const std::string text = "Für Ann met Bob. Bob met Für. end";
  EXPECT_EQ(ids_of(split, 1), pair_ids(text, "Then Bob left"));
  EXPECT_EQ(ids_of(split, 5), pair_ids(text, "Für stayed"));
}

TEST_F(NestedRecords, FlatRowsOfRecordAreTheSame) {
  const EncodedSplit nested = read("record", lines({article()}), "dev");
  const std::string text = article()["passage"]["text"].dump();
  const std::string flat =
      R"({"passage": )" + text +
      R"(, "query": "Then @placeholder left", "entities": ["Ann", "Bob", "Für"], "answers": ["Bob"], "idx": {"passage": 3, "query": 8}})"
      "\n"
      R"({"passage": )" +
      text +
      R"(, "query": "@placeholder stayed", "entities": ["Ann", "Bob", "Für"], "answers": ["Ann", "Für"], "idx": {"passage": 3, "query": 9}})"
      "\n";
  std::filesystem::remove(folder_ / "dev.jsonl");
  const EncodedSplit split = read("record", flat, "dev");
  EXPECT_EQ(split.ids, nested.ids);
  EXPECT_EQ(split.candidates, nested.candidates);
  EXPECT_EQ(split.references, nested.references);
  EXPECT_EQ(split.target_ids, nested.target_ids);
  EXPECT_EQ(split.outer_idx, nested.outer_idx);
}

TEST_F(NestedRecords, RecordWithoutAnswersOrEntities) {
  Json hidden = article(), empty = article(), alone = article();
  for (Json& query : hidden["qas"]) query.erase("answers");
  EXPECT_TRUE(read("record", lines({hidden}), "test").hidden);
  for (Json& query : empty["qas"]) query["answers"] = Json::array();
  EXPECT_TRUE(read("record", lines({empty}), "test").hidden);
  const EncodedSplit none_right = read("record", lines({empty}), "dev");
  EXPECT_EQ(none_right.statistics.odd, (Odd{{"no_answers", 2}}));
  EXPECT_EQ(none_right.target(0), Target(std::vector<int64_t>{}));
  alone["passage"]["entities"] = Json::array();
  const EncodedSplit split = read("record", lines({alone}), "dev");
  EXPECT_EQ(split.statistics.odd, (Odd{{"no_entities", 2}}));
  EXPECT_EQ(split.candidates, (std::vector<std::string>{"", ""})) << "nothing to choose from is answered with nothing";
}

TEST_F(NestedRecords, BadRecordsOfRecordNameTheirPath) {
  const auto changed = [&](const std::string& pointer, const Json& value) {
    Json record = article();
    record[Json::json_pointer(pointer)] = value;
    return message("record", lines({record}), "dev");
  };
  EXPECT_EQ(changed("/passage/entities/1/end", 99),
            "dev.jsonl:1: passage.entities[1]: start 12 and end 99 are no characters of passage.text");
  EXPECT_EQ(changed("/passage/entities/1/start", -1),
            "dev.jsonl:1: passage.entities[1]: start -1 and end 14 are no characters of passage.text");
  EXPECT_EQ(changed("/passage/entities/1/start", 15),
            "dev.jsonl:1: passage.entities[1]: start 15 and end 14 are no characters of passage.text");
  EXPECT_EQ(changed("/qas/0/answers/0/end", int64_t{1} << 62),
            "dev.jsonl:1: qas[0].answers[0]: start 12 and end 4611686018427387904 are no characters of passage.text");
  EXPECT_EQ(changed("/qas/1/query", "nothing"), "dev.jsonl:1: query without @placeholder");
  EXPECT_EQ(changed("/qas", Json::object()), "dev.jsonl:1: qas is an object, expected an array");
  EXPECT_EQ(changed("/qas/0/answers", "Bob"), "dev.jsonl:1: qas[0].answers is a string, expected an array");
  const std::string flat = R"({"passage": "a", "query": "@placeholder", "entities": ["a"], "answers": )";
  EXPECT_EQ(message("record", flat + "\"a\"}", "dev"), "dev.jsonl:1: answers is a string, expected a list of strings");
  EXPECT_EQ(message("record", flat + "[1]}", "dev"), "dev.jsonl:1: answers[0] is an integer, expected a string");
}

TEST_F(NestedRecords, SpansOfSkippedRowsHaveTheirKind) {
  Json bad = article();
  bad["passage"]["entities"][0]["end"] = 99;
  bad["qas"][0]["idx"] = 18;
  bad["qas"][1]["idx"] = 19;
  data.on_bad_row = "skip";
  data.max_bad_fraction = 0.5;
  EXPECT_EQ(read("record", lines({article(), bad}), "dev").statistics.skipped, (Odd{{"span", 1}}));
}

TEST_F(NestedRecords, AnArrayOfRecordsMayStandInPlaceOfLines) {
  write("dev.json", "[\n" + passage(0, 0, 0).dump(1) + ",\n" + passage(1, 2, 3).dump() + "]");
  EXPECT_EQ(load("multirc", {"dev"}).splits.at("dev").size(), 6);
  Json bad = passage(1, 2, 3);
  bad["passage"]["text"] = 3;
  write("dev.json", "[\n" + passage(0, 0, 0).dump() + ",\n" + bad.dump() + "]");
  EXPECT_EQ(failure("multirc", {"dev"}), "dev.json:3: passage.text is an integer, expected a string");
}

// Values replaced by values of any kind, keys removed, bytes changed: an error with file and line, or counted skips;
// what is read has the size that the lines say.
TEST_F(NestedRecords, BrokenRecordsNeverCrash) {
  testing::internal::CaptureStderr();
  const std::vector<Json> values{nullptr, "x", 7, -1, 1.5, true, Json::array(), Json::object(), Json::array({1, "a"})};
  int64_t read_whole = 0;
  for (uint64_t trial = 0; trial < 600; ++trial) {
    const RngStream random(trial, "nested");
    const bool multirc = random.below(0, 2) == 0;
    const std::string task = multirc ? "multirc" : "record";
    std::vector<Json> records{multirc ? passage(0, 0, 0) : article(), multirc ? passage(1, 2, 3) : article()};
    if (!multirc)
      for (Json& query : records[1]["qas"]) query["idx"] = query["idx"].get<int64_t>() + 10;
    const Json flat = records[1].flatten();
    auto pick = flat.begin();
    std::advance(pick, static_cast<std::ptrdiff_t>(random.below(1, flat.size())));
    Json::json_pointer pointer(pick.key());
    for (uint64_t up = random.below(2, 3); up > 0 && !pointer.empty(); --up) pointer.pop_back();
    if (!pointer.empty()) records[1][pointer] = values[random.below(3, values.size())];
    std::string content = lines(records);
    if (random.below(4, 3) == 0) content[random.below(5, content.size())] = static_cast<char>(random.word(6));
    write("dev.jsonl", content);
    for (const char* policy : {"error", "skip"}) {
      data = {};
      data.on_bad_row = policy;
      data.max_bad_fraction = 1;
      try {
        const EncodedSplit split = load(task, {"dev"}).splits.at("dev");
        EXPECT_EQ(split.outer_idx.size(), split.idx.size() * (multirc ? 2 : 1));
        EXPECT_EQ(split.candidates.size(), multirc ? 0 : static_cast<std::size_t>(split.sequences()));
        EXPECT_TRUE(split.statistics.skipped.empty() || data.on_bad_row == "skip");
        ++read_whole;
      } catch (const DataError& error) {
        const std::string text = error.what();
        EXPECT_NE(text.find("dev.jsonl:"), std::string::npos) << text;
        EXPECT_EQ(text.find('\n'), std::string::npos) << text;
      }
    }
  }
  testing::internal::GetCapturedStderr();
  EXPECT_GT(read_whole, 400) << "files that could be read, of 1200";
}

}  // namespace
}  // namespace peft
