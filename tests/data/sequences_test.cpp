// From the fields of a record to sequences, as the table of the task says, and what an encoded split holds of them.
#include <set>

#include "fixtures.h"
#include "peft/data/permutation.h"
#include "peft/data/report.h"
#include "peft/data/task.h"
#include "src/data/encode_split.h"
#include "src/data/sequence_plan.h"

namespace peft {
namespace {

using Set = std::vector<int64_t>;

std::vector<std::pair<std::string, std::string>> sequences(const TaskSpec& spec,
                                                           const std::vector<std::string_view>& texts) {
  const SequencePlan plan(spec);
  std::vector<std::pair<std::string, std::string>> all;
  for (int64_t s = 0; s < plan.sequences(texts.size()); ++s) {
    std::string text, pair;
    EXPECT_TRUE(plan.write(texts, s, SequencePlan::Side::text, text));
    const bool has_pair = plan.write(texts, s, SequencePlan::Side::text_pair, pair);
    all.emplace_back(text, has_pair ? pair : "(none)");
  }
  return all;
}

TEST(SequencePlan, FillsFieldsIntoTexts) {
  const TaskSpec spec{.sequences = {{"{a}{b}", "{c}"}, {"x {{{b}}}", ""}}};
  EXPECT_EQ(sequences(spec, {"A", "B", "{a}"}),
            (std::vector<std::pair<std::string, std::string>>{{"AB", "{a}"}, {"x {B}", "(none)"}}));
}

TEST(SequencePlan, AnOptionalFieldThatIsAbsentLeavesItsSideOut) {
  const TaskSpec spec{.sequences = {{"{a}", "in {b?}"}}};
  EXPECT_EQ(sequences(spec, {"A"}), (std::vector<std::pair<std::string, std::string>>{{"A", "(none)"}}));
  EXPECT_EQ(sequences(spec, {"A", ""}), (std::vector<std::pair<std::string, std::string>>{{"A", "in "}}));
}

TEST(SequencePlan, AListMakesASequenceForEachMember) {
  const TaskSpec spec{.sequences = {{"{a}", "{b*}"}}};
  EXPECT_EQ(sequences(spec, {"A", "1", "2", "3"}),
            (std::vector<std::pair<std::string, std::string>>{{"A", "1"}, {"A", "2"}, {"A", "3"}}));
}

TEST(SequencePlan, RefusesTablesThatCannotWork) {
  EXPECT_THROW(SequencePlan({.sequences = {}}), Error);
  EXPECT_THROW(SequencePlan({.sequences = {{"no field"}}}), Error);
  EXPECT_THROW(SequencePlan({.sequences = {{"{a"}}}), Error);
  EXPECT_THROW(SequencePlan({.sequences = {{"{a?}", "{b}"}}}), Error);
}

TEST(SequencePlan, EveryTaskHasOneThatWorks) {
  for (const std::string& name : task_registry().names()) {
    const TaskSpec& spec = task_registry().at(name);
    const SequencePlan plan(spec);
    EXPECT_EQ(spec.dump.texts.size(), spec.dump.tsv() ? plan.fields().size() : 0U) << name;
    for (const auto& entry : spec.wordings)
      EXPECT_TRUE(std::any_of(plan.fields().begin(), plan.fields().end(), [&](const auto& field) {
        return field.name == entry.first;
      })) << name;
  }
}

class Sequences : public FolderTest {
 protected:
  static std::string copa(const std::string& question, const std::string& label, int idx = 0) {
    return R"({"premise": "a b c", "choice1": "d", "choice2": "e f", "question": ")" + question +
           "\", \"idx\": " + std::to_string(idx) + (label.empty() ? "" : ", \"label\": " + label) + "}\n";
  }
  /// A file by a table of the test's own.
  EncodedSplit encode(const TaskSpec& spec, const std::string& content, const std::string& split = "train",
                      std::optional<int64_t> limit = std::nullopt) {
    const SplitFile file{write(split + ".jsonl", content), FileFormat::jsonl};
    TaskConfig task;
    task.max_length = max_length;
    return encode_split({spec, data, split, file, spec.labels}, WordTokenizer(), task, limit).split;
  }
  static std::vector<int32_t> pair_ids(const std::string& a, const std::string& b) {
    return WordTokenizer().encode(a, b, {.max_length = 100}).ids;
  }
  static std::vector<int32_t> ids_of(const EncodedSplit& split, int64_t s) {
    return {split.sequence_ids(s).begin(), split.sequence_ids(s).end()};
  }
};

TEST_F(Sequences, CopaIsTwoSequencesAnExample) {
  write("COPA/train.jsonl", copa("cause", "1", 0) + copa("effect", "0", 1));
  const Dataset dataset = load("copa");
  EXPECT_EQ(dataset.task.name, "superglue/copa");
  EXPECT_EQ(dataset.task.objective, "choice");
  EXPECT_TRUE(dataset.task.labels.empty());
  const EncodedSplit& split = dataset.splits.at("train");
  EXPECT_EQ(split.size(), 2);
  EXPECT_EQ(split.sequences(), 4);
  EXPECT_EQ(split.sequence_offsets, (std::vector<int64_t>{0, 2, 4}));
  EXPECT_EQ(ids_of(split, 0), pair_ids("a b c because", "d"));
  EXPECT_EQ(ids_of(split, 1), pair_ids("a b c because", "e f"));
  EXPECT_EQ(ids_of(split, 2), pair_ids("a b c so", "d"));
  EXPECT_EQ(ids_of(split, 3), pair_ids("a b c so", "e f"));
  EXPECT_EQ(split.length(0), 8 + 9);
  EXPECT_EQ(split.longest_sequence(), 9);
  EXPECT_EQ(split.target(0), Target(int64_t{1}));
  EXPECT_EQ(split.statistics.label_counts, (std::vector<int64_t>{1, 1}));
  EXPECT_EQ(describe_splits(dataset)["train"]["labels"], (Json{{"0", 1}, {"1", 1}}));
}

TEST_F(Sequences, CopaTestIsHidden) {
  write("COPA/test.jsonl", copa("cause", "", 0) + copa("effect", "", 1));
  const EncodedSplit split = load("superglue/copa", {"test"}).splits.at("test");
  EXPECT_TRUE(split.hidden);
  EXPECT_TRUE(is_hidden(split.target(1)));
}

TEST_F(Sequences, BadCopaRecordsNameFileAndLine) {
  const auto message = [&](const std::string& line) {
    write("COPA/train.jsonl", copa("cause", "0", 5) + line);
    return failure("copa");
  };
  EXPECT_EQ(message(copa("reason", "0")), "COPA/train.jsonl:2: question \"reason\"; expected one of cause, effect");
  EXPECT_EQ(message(copa("cause", "2")), "COPA/train.jsonl:2: label 2; expected the number of a choice, 0 to 1");
  EXPECT_EQ(message(copa("cause", "-2")), "COPA/train.jsonl:2: label -2; expected the number of a choice, 0 to 1");
  EXPECT_EQ(message(copa("cause", "\"0\"")), "COPA/train.jsonl:2: label is a string, expected the number of a choice");
  EXPECT_EQ(message(copa("cause", "")), "COPA/train.jsonl:2: no label; expected one in every row of train");
  EXPECT_EQ(message("{\"premise\": \"a\", \"label\": 0}\n").substr(0, 35), "COPA/train.jsonl:2: no key question");
  data.on_bad_row = "skip";
  data.max_bad_fraction = 1;
  write("COPA/train.jsonl", copa("cause", "0", 5) + copa("reason", "0") + copa("cause", "7"));
  EXPECT_EQ(load("copa").splits.at("train").statistics.skipped,
            (std::map<std::string, int64_t>{{"field", 1}, {"label", 1}}));
}

TEST_F(Sequences, CopaOutsideItsDumpIsReadByColumnName) {
  write("train.csv", "label,choice2,choice1,question,premise\n1,e f,d,effect,a b c\n");
  const EncodedSplit split = load("copa").splits.at("train");
  EXPECT_EQ(ids_of(split, 1), pair_ids("a b c so", "e f"));
  data.format = "glue_tsv";
  EXPECT_NE(failure<ConfigError>("copa").find("glue_tsv"), std::string::npos);
}

TEST_F(Sequences, ChoicesOfTheUsersOwnMayBeAnyNumber) {
  write("train.jsonl",
        "{\"text\": \"a\", \"choices\": [\"b\", \"c d\", \"e\"], \"label\": 2}\n"
        "{\"text\": \"f\", \"choices\": [\"g\"], \"label\": 0}\n");
  const EncodedSplit split = load("multiple_choice").splits.at("train");
  EXPECT_EQ(split.sequence_offsets, (std::vector<int64_t>{0, 3, 4}));
  EXPECT_EQ(ids_of(split, 1), pair_ids("a", "c d"));
  EXPECT_EQ(split.statistics.label_counts, (std::vector<int64_t>{1, 0, 1}));
  data.columns.choices = "endings";
  std::filesystem::remove(folder_ / "train.jsonl");
  write("train.csv", "text,endings,label\na,b|c d|e,2\n");
  EXPECT_EQ(ids_of(load("multiple_choice").splits.at("train"), 1), pair_ids("a", "c d"));
}

TEST_F(Sequences, BadChoicesNameFileAndLine) {
  const auto message = [&](const std::string& choices, const std::string& label = "0") {
    write("train.jsonl", "{\"text\": \"a\", \"choices\": " + choices + ", \"label\": " + label + "}\n");
    return failure("multiple_choice");
  };
  EXPECT_EQ(message("\"b\""), "train.jsonl:1: choices is a string, expected a list of strings");
  EXPECT_EQ(message("[]"), "train.jsonl:1: choices is an empty list, expected a list of strings");
  EXPECT_EQ(message("[\"b\", 3]"), "train.jsonl:1: choices[1] is an integer, expected a string");
  EXPECT_EQ(message("[\"b\", \"c\"]", "2"), "train.jsonl:1: label 2; expected the number of a choice, 0 to 1");
  write("train.jsonl", "{\"text\": \"a\", \"label\": 0}\n");
  EXPECT_EQ(failure("multiple_choice"), "train.jsonl:1: no key choices; the keys are label, text");
  data.columns.text_pair = "b";
  EXPECT_EQ(failure<ConfigError>("multiple_choice"),
            "data.columns.text_pair: multiple_choice reads the columns text, choices");
}

TEST_F(Sequences, LabelsMayBeSetsOfClasses) {
  write("train.jsonl",
        "{\"text\": \"a\", \"label\": [\"red\", \"blue\"]}\n{\"text\": \"b\", \"label\": []}\n"
        "{\"text\": \"c\", \"label\": [\"green\"]}\n{\"text\": \"d\", \"label\": [\"red\"]}\n");
  const DataConfig before = data;
  const Dataset dataset = load("multi_label");
  EXPECT_EQ(dataset.task.labels, (std::vector<std::string>{"blue", "green", "red"}));
  EXPECT_EQ(data.labels, before.labels) << "what was resolved is in the result alone";
  const EncodedSplit& split = dataset.splits.at("train");
  EXPECT_EQ(split.target(0), Target(Set{0, 2}));
  EXPECT_EQ(split.target(1), Target(Set{}));
  EXPECT_EQ(split.target(2), Target(Set{1}));
  EXPECT_EQ(split.target(3), Target(Set{2}));
  EXPECT_EQ(split.statistics.label_counts, (std::vector<int64_t>{1, 1, 2}));
  std::filesystem::remove(folder_ / "train.jsonl");
  write("train.csv", "text,label\na,red|blue\nb,\nc,green\nd,red\n");
  const EncodedSplit fields = load("multi_label").splits.at("train");
  EXPECT_EQ(fields.target_ids, split.target_ids);
  EXPECT_EQ(fields.target_offsets, split.target_offsets);
}

TEST_F(Sequences, BadSetsNameFileAndLine) {
  data.labels = {"red", "blue"};
  const auto message = [&](const std::string& label) {
    write("train.jsonl", "{\"text\": \"a\", \"label\": [\"red\"]}\n{\"text\": \"a\", \"label\": " + label + "}\n");
    return failure("multi_label");
  };
  EXPECT_EQ(message("\"red\""), "train.jsonl:2: label is a string, expected a list of strings");
  EXPECT_EQ(message("3"), "train.jsonl:2: label is an integer, expected a list of strings");
  EXPECT_EQ(message("[\"gren\"]"), "train.jsonl:2: label \"gren\"; expected one of red, blue");
  EXPECT_EQ(message("[[\"red\"]]"), "train.jsonl:2: label is an array, expected a string, an integer or a boolean");
  EXPECT_EQ(message("[\"red\", \"red\"]"), "train.jsonl:2: a label occurs twice in the list");
  EXPECT_EQ(message("[-1]"), "train.jsonl:2: an empty label or -1 in a list; expected some of red, blue");
  EXPECT_EQ(message("-1"),
            "train.jsonl:2: no label; expected one in every row of train (-1 stands for a hidden label; where it is a "
            "class, data.labels must name it, as in [\"-1\", \"1\"])");
  EXPECT_EQ(message("[1, 0]"), "") << "numbers index the names";
}

TEST_F(Sequences, HiddenSetsMakeATestSplitPredictOnly) {
  data.labels = {"red", "blue"};
  write("test.csv", "text,label\na,-1\nb,-1\n");
  EXPECT_TRUE(load("multi_label", {"test"}).splits.at("test").hidden);
  write("test.csv", "text\na\nb\n");
  EXPECT_TRUE(load("multi_label", {"test"}).splits.at("test").hidden);
}

// MultiRC as the datasets library writes it: a group, an idx inside an object, and a passage that alone is cut.
TEST_F(Sequences, GroupsAndTheSideThatIsCutAreRowsOfTheTable) {
  const TaskSpec spec{.sequences = {{"{paragraph}", "{question} {answer}"}},
                      .truncation = Truncation::only_first,
                      .idx = "idx.answer",
                      .group = "idx.question",
                      .labels = {"False", "True"}};
  const auto record = [](int question, int answer, int label) {
    return fmt::format(
        R"({{"paragraph": "p p p p", "question": "q{0}", "answer": "a{1}", "idx": {{"paragraph": 0, "question": {0}, "answer": {1}}}, "label": {2}}})"
        "\n",
        question, answer, label);
  };
  const EncodedSplit split = encode(spec, record(7, 20, 1) + record(7, 21, 0) + record(9, 22, 0));
  EXPECT_EQ(split.groups, (std::vector<int64_t>{7, 7, 9}));
  EXPECT_EQ(split.idx, (std::vector<int64_t>{20, 21, 22}));
  EXPECT_EQ(ids_of(split, 1), pair_ids("p p p p", "q7 a21"));
  try {
    encode(spec, record(7, 20, 1) + "{\"paragraph\": \"p\", \"question\": \"q\", \"answer\": \"a\", \"label\": 1}\n");
    ADD_FAILURE() << "no error";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("train.jsonl:2: no key idx.question"), std::string::npos) << error.what();
  }
}

TEST_F(Sequences, TargetsMayBeTexts) {
  const TaskSpec spec{.sequences = {{"{source}"}}, .label = "target", .target = TargetKind::text};
  const std::string content =
      "{\"source\": \"a b\", \"target\": \"c\"}\n{\"source\": \"d\", \"target\": \"e f g\"}\n"
      "{\"source\": \"h\", \"target\": \"\"}\n";
  const EncodedSplit split = encode(spec, content);
  const auto ids = [&](int64_t e) {
    return std::vector<int32_t>(split.example_target_ids(e).begin(), split.example_target_ids(e).end());
  };
  EXPECT_EQ(ids(0), WordTokenizer().encode("c", std::nullopt, {.max_length = 100}).ids);
  EXPECT_EQ(ids(1), WordTokenizer().encode("e f g", std::nullopt, {.max_length = 100}).ids);
  EXPECT_EQ(ids(2).size(), 2U);
  EXPECT_EQ(split.longest_target(), 5);
  try {
    encode(spec, content + "{\"source\": \"a\", \"target\": 5}\n");
    ADD_FAILURE() << "no error";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("train.jsonl:4: label is an integer, expected a string"),
              std::string::npos)
        << error.what();
  }
}

TEST_F(Sequences, ALimitKeepsExamplesWhole) {
  const TaskSpec spec{.sequences = {{"{a}", "{b*}"}},
                      .group = "group",
                      .target = TargetKind::classes,
                      .labels = {"0", "1", "2", "3", "4"}};
  std::string content;
  for (int i = 0; i < 20; ++i) {
    content += "{\"a\": \"w" + std::to_string(i) + "\", \"b\": [";
    for (int j = 0; j <= i % 4; ++j) content += (j ? ", \"x" : "\"x") + std::to_string(j) + "\"";
    content += "], \"group\": " + std::to_string(100 + i) + ", \"label\": [" + std::to_string(i % 5) + "]}\n";
  }
  const EncodedSplit all = encode(spec, content), some = encode(spec, content, "train", 6);
  const auto order = permutation(20, 42);
  ASSERT_EQ(some.size(), 6);
  EXPECT_EQ(some.target_kind, TargetKind::classes);
  for (int64_t e = 0; e < 6; ++e) {
    const int64_t from = order[std::size_t(e)];
    ASSERT_EQ(some.sequences(e), all.sequences(from));
    for (int64_t j = 0; j < some.sequences(e); ++j)
      EXPECT_EQ(ids_of(some, some.first_sequence(e) + j), ids_of(all, all.first_sequence(from) + j));
    EXPECT_EQ(some.target(e), all.target(from));
    EXPECT_EQ(some.groups[std::size_t(e)], 100 + from);
  }
}

TEST_F(Sequences, OverlapComparesAllTextsOfAnExample) {
  write("COPA/train.jsonl", copa("cause", "0", 0));
  write("COPA/val.jsonl", copa("cause", "1", 0) + copa("effect", "1", 1));
  EXPECT_EQ(load("copa", {"train", "dev"}).splits.at("dev").statistics.overlap_with_train, 1);
}

}  // namespace
}  // namespace peft
