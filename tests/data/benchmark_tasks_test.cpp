// Files of the benchmarks that no dump at hand has, in their exact shape, and the sets beside them.
#include "fixtures.h"
#include "peft/data/report.h"
#include "peft/data/split_files.h"
#include "peft/data/task.h"

namespace peft {
namespace {

using Counts = std::map<std::string, int64_t>;

class BenchmarkTasks : public FolderTest {
 protected:
  EncodedSplit read(const std::string& task, const std::string& file, const std::string& content,
                    const std::string& split = "train") {
    write(file, content);
    return load(task, {split}).splits.at(split);
  }
  static std::vector<int32_t> ids(const std::string& a) { return WordTokenizer().encode(a, std::nullopt, {}).ids; }
  static std::vector<int32_t> ids(const std::string& a, const std::string& b) {
    return WordTokenizer().encode(a, b, {}).ids;
  }
  static std::vector<int32_t> ids_of(const EncodedSplit& split, int64_t s) {
    return {split.sequence_ids(s).begin(), split.sequence_ids(s).end()};
  }
};

// QQP

const std::string qqp_head = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n";
const std::string qqp_rows = "402\t1\t2\tWhat is \"x\"?\tWhat's x\t1\n7\t3\t4\tWhy\tHow\t0\n";
const std::string qqp_torn = "9\t5\t6\tA question that is\n torn\tHow\t0\n";

TEST_F(BenchmarkTasks, TornRowsOfQqpsTrainFileAreSkipped) {
  data.max_bad_fraction = 0.5;
  const EncodedSplit split = read("qqp", "QQP/train.tsv", qqp_head + qqp_rows + qqp_torn);
  EXPECT_EQ(split.size(), 2);
  EXPECT_EQ(split.statistics.skipped, (Counts{{"columns", 2}}));
  EXPECT_EQ(split.labels, (std::vector<double>{1, 0}));
  EXPECT_EQ(split.idx, (std::vector<int64_t>{402, 7}));
  EXPECT_EQ(ids_of(split, 0), ids("What is \"x\"?", "What's x"));
}

TEST_F(BenchmarkTasks, TornRowsElsewhereAreErrors) {
  const std::string message = ":4: 4 columns, expected 6 (id, qid1, qid2, question1, question2, is_duplicate)";
  write("QQP/dev.tsv", qqp_head + qqp_rows + qqp_torn);
  EXPECT_EQ(failure("qqp", {"dev"}), "QQP/dev.tsv" + message);
  write("QQP/train.tsv", qqp_head + qqp_rows + qqp_torn);
  data.on_bad_row = "error";
  EXPECT_EQ(failure("qqp"), "QQP/train.tsv" + message);
  data.on_bad_row.reset();
  EXPECT_EQ(failure("qqp"), "QQP/train.tsv: 2 of 4 rows are bad (columns 2), more than data.max_bad_fraction 0.01");
}

TEST_F(BenchmarkTasks, QqpTestHasIdsAndNoLabels) {
  const EncodedSplit split = read("qqp", "QQP/test.tsv", "id\tquestion1\tquestion2\n3\ta\tb\n1\tc\td\n", "test");
  EXPECT_TRUE(split.hidden);
  EXPECT_EQ(split.idx, (std::vector<int64_t>{3, 1}));
}

TEST_F(BenchmarkTasks, QnliTrainHasItsLabelsByName) {
  const EncodedSplit split = read("qnli", "QNLI/train.tsv",
                                  "index\tquestion\tsentence\tlabel\n0\tWho \"is\" it?\tIt's me.\tnot_entailment\n"
                                  "1\ta\tb\tentailment\n");
  EXPECT_EQ(split.labels, (std::vector<double>{1, 0}));
  EXPECT_EQ(ids_of(split, 0), ids("Who \"is\" it?", "It's me."));
}

// MNLI

const std::string mnli_sides =
    "promptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\tsentence2_"
    "parse\tsentence1\tsentence2";
const std::string mnli_train = "index\t" + mnli_sides + "\tlabel1\tgold_label\n";
const std::string mnli_dev = "index\t" + mnli_sides + "\tlabel1\tlabel2\tlabel3\tlabel4\tlabel5\tgold_label\n";

std::string mnli_row(int index, const std::string& a, const std::string& b, const std::string& labels) {
  return fmt::format("{}\t{}\t{}c\tfiction\t( a b )\t( c )\t(ROOT a)\t(ROOT b)\t{}\t{}{}\n", index, index, index, a, b,
                     labels.empty() ? "" : "\t" + labels);
}

std::string mnli_dev_rows(const std::vector<std::string>& golds, const std::string& word) {
  std::string text = mnli_dev;
  for (std::size_t i = 0; i < golds.size(); ++i)
    text += mnli_row(static_cast<int>(i), word, "h" + std::to_string(i), "neutral\t\t\t\t\t" + golds[i]);
  return text;
}

TEST_F(BenchmarkTasks, MnliReadsItsSentencesAndPassesOverRowsWithoutGoldLabel) {
  const EncodedSplit split =
      read("mnli", "MNLI/train.tsv",
           mnli_train + mnli_row(0, "p q", "h", "neutral\tcontradiction") + mnli_row(1, "p", "h", "neutral\t-") +
               mnli_row(2, "p", "h", "neutral\tentailment"));
  EXPECT_EQ(ids_of(split, 0), ids("p q", "h"));
  EXPECT_EQ(split.labels, (std::vector<double>{2, 0}));
  EXPECT_EQ(split.idx, (std::vector<int64_t>{0, 2}));
  EXPECT_EQ(split.statistics.skipped, (Counts{{"no_gold", 1}})) << "though bad rows are errors";
  write("MNLI/train.tsv", mnli_train + mnli_row(0, "p", "h", "neutral\tperhaps"));
  EXPECT_EQ(failure("mnli"), "MNLI/train.tsv:2: label \"perhaps\"; expected one of entailment, neutral, contradiction");
}

TEST_F(BenchmarkTasks, DevOfMnliIsBothItsFiles) {
  write("MNLI/dev_matched.tsv", mnli_dev_rows({"entailment", "neutral"}, "m"));
  write("MNLI/dev_mismatched.tsv", mnli_dev_rows({"contradiction", "neutral", "-", "neutral"}, "mm"));
  const Dataset dataset = load("mnli", {"dev"});
  const EncodedSplit& split = dataset.splits.at("dev");
  EXPECT_EQ(split.labels, (std::vector<double>{0, 1, 2, 1, 1}));
  EXPECT_EQ(split.part_names, (std::vector<std::string>{"matched", "mismatched"}));
  EXPECT_EQ(split.parts, (std::vector<uint8_t>{0, 0, 1, 1, 1}));
  EXPECT_EQ(split.examples_of(1), (std::vector<int64_t>{2, 3, 4}));
  EXPECT_EQ(split.idx, (std::vector<int64_t>{0, 1, 0, 1, 3})) << "each file counts its own rows";
  EXPECT_EQ(split.statistics.files.size(), 2U);
  EXPECT_EQ(split.statistics.skipped, (Counts{{"no_gold", 1}}));
  EXPECT_EQ(split.name, "dev");
  EXPECT_EQ(describe_splits(dataset)["dev"]["parts"], (Json{{"matched", 2}, {"mismatched", 3}}));
  data.limit.dev = 3;
  const EncodedSplit some = load("mnli", {"dev"}).splits.at("dev");
  ASSERT_EQ(some.size(), 3);
  for (int64_t e = 0; e < 3; ++e)
    EXPECT_EQ(some.parts[std::size_t(e)], ids_of(some, e).at(1) == ids("mm").at(1)) << "a row keeps its part";
}

TEST_F(BenchmarkTasks, OnePartOfMnliAloneIsASplitToo) {
  write("MNLI/dev_matched.tsv", mnli_dev_rows({"entailment", "neutral"}, "m"));
  write("MNLI/dev_mismatched.tsv", mnli_dev_rows({"contradiction"}, "mm"));
  for (const char* name : {"dev_mismatched", "dev_mm", "validation-mm", "val_mismatched"}) {
    const EncodedSplit split =
        load_dataset({"mnli", folder_.string(), 128}, data, WordTokenizer(), {name}).splits.at("dev_mismatched");
    EXPECT_EQ(split.labels, (std::vector<double>{2}));
    EXPECT_EQ(split.name, "dev_mismatched");
    EXPECT_TRUE(split.part_names.empty());
  }
  EXPECT_EQ(failure<ConfigError>("mnli", {"dev_other"}),
            "unknown split \"dev_other\"; expected train, dev (val, valid, validation, eval) or test, dev_matched, "
            "test_matched, dev_mismatched, test_mismatched");
  write("SST-2/dev.tsv", "sentence\tlabel\na\t1\n");
  EXPECT_NE(failure<ConfigError>("sst2", {"dev_matched"}).find("unknown split \"dev_matched\""), std::string::npos);
}

TEST_F(BenchmarkTasks, FilesOfPartsHaveManyNames) {
  for (const auto& [m, mm] :
       std::vector<std::pair<std::string, std::string>>{{"dev-matched.tsv", "dev-mismatched.tsv"},
                                                        {"dev_m.tsv", "dev_mm.tsv"},
                                                        {"validation_matched.tsv", "val-mm.tsv"}}) {
    SetUp();
    write(m, mnli_dev_rows({"entailment"}, "m"));
    write(mm, mnli_dev_rows({"neutral"}, "mm"));
    EXPECT_EQ(load("mnli", {"dev"}).splits.at("dev").labels, (std::vector<double>{0, 1})) << m;
  }
  SetUp();
  write("test_matched.tsv", "index\t" + mnli_sides + "\n" + mnli_row(0, "a", "b", ""));
  write("test_mismatched.tsv", "index\t" + mnli_sides + "\n" + mnli_row(0, "c", "d", ""));
  const EncodedSplit test = load("mnli", {"test"}).splits.at("test");
  EXPECT_TRUE(test.hidden);
  EXPECT_EQ(test.parts, (std::vector<uint8_t>{0, 1}));
  data.files = {{"dev_mm", (folder_ / "test_matched.tsv").string()},
                {"validation-matched", (folder_ / "test_mismatched.tsv").string()}};
  EXPECT_EQ(find_split_files(task_registry().at("mnli"), {"mnli", ""}, data, {"dev"}).size(), 2U);
}

TEST_F(BenchmarkTasks, PartsOfMnliInTheDatasetsLibrarysShape) {
  const auto row = [](const std::string& p, int label) {
    return fmt::format("{{\"premise\": \"{}\", \"hypothesis\": \"h\", \"label\": {}, \"idx\": 0}}\n", p, label);
  };
  write("train.jsonl", row("p", 1));
  write("validation_matched.jsonl", row("m", 2));
  write("validation_mismatched.jsonl", row("mm", 0));
  write("test_matched.jsonl", row("t", -1));
  const Dataset dataset = load("mnli", {"train", "dev", "test"});
  EXPECT_EQ(dataset.splits.at("dev").labels, (std::vector<double>{2, 0}));
  EXPECT_TRUE(dataset.splits.at("test").hidden);
  EXPECT_TRUE(dataset.splits.at("test").part_names.empty()) << "one part alone is the split";
}

TEST_F(BenchmarkTasks, AWholeSplitAndItsPartsAreTwoAnswers) {
  write("dev_matched.tsv", mnli_dev_rows({"entailment"}, "m"));
  write("dev.tsv", mnli_dev_rows({"entailment"}, "m"));
  EXPECT_EQ(failure("mnli", {"dev"}),
            "dev.tsv and dev_matched.tsv both hold the split dev; keep one, or the parts in data.files");
  std::filesystem::remove(folder_ / "dev_matched.tsv");
  EXPECT_EQ(load("mnli", {"dev"}).splits.at("dev").size(), 1);
  std::filesystem::remove(folder_ / "dev.tsv");
  EXPECT_NE(failure("mnli", {"dev"}).find("expected dev_matched.tsv, "), std::string::npos) << failure("mnli", {"dev"});
}

// The diagnostic sets

TEST_F(BenchmarkTasks, AxIsATestSplitUnderSeveralNames) {
  for (const char* file : {"AX/diagnostic.tsv", "diagnostic/diagnostic.tsv", "AX/AX.tsv", "AX/test.tsv"}) {
    SetUp();
    const EncodedSplit split = read("ax", file, "index\tsentence1\tsentence2\n0\ta\tb\n1\tc d\te\n", "test");
    EXPECT_TRUE(split.hidden) << file;
    EXPECT_EQ(ids_of(split, 1), ids("c d", "e"));
  }
  EXPECT_NE(failure("ax", {"dev"}).find("AX: expected dev.tsv"), std::string::npos) << failure("ax", {"dev"});
}

TEST_F(BenchmarkTasks, AxbWritesItsIdxAsAString) {
  const auto row = [](const std::string& idx) {
    return "{\"sentence1\": \"a\", \"sentence2\": \"b\", \"label\": \"not_entailment\", \"logic\": \"x\", \"idx\": " +
           idx + "}\n";
  };
  const EncodedSplit split = read("axb", "AX-b/AX-b.jsonl", row("\"17\"") + row("3"), "test");
  EXPECT_EQ(split.idx, (std::vector<int64_t>{17, 3}));
  EXPECT_FALSE(split.hidden);
  EXPECT_EQ(split.labels, (std::vector<double>{1, 1}));
  write("AX-b/AX-b.jsonl", row("\"x1\""));
  EXPECT_EQ(failure("axb", {"test"}).substr(0, 55), "AX-b/AX-b.jsonl:1: idx is a string, expected an integer");
}

TEST_F(BenchmarkTasks, PairsOfAxgAreNeighbours) {
  std::string text;
  for (int i = 0; i < 4; ++i)
    text += fmt::format(
        "{{\"premise\": \"p{0}\", \"hypothesis\": \"h\", \"label\": \"entailment\", \"idx\": {0}, \"pair_id\": {1}}}\n",
        i, 90 + i);
  EXPECT_EQ(read("axg", "AX-g/AX-g.jsonl", text, "test").groups, (std::vector<int64_t>{0, 0, 1, 1}));
}

// SuperGLUE's plain ones

TEST_F(BenchmarkTasks, BooleansOfBoolq) {
  const auto boolq = [&](const std::string& label) {
    return "{\"question\": \"is it\", \"passage\": \"it is\", \"idx\": 0, \"label\": " + label + "}\n";
  };
  for (const char* label : {"true", "1", "1.0"})
    EXPECT_EQ(read("boolq", "BoolQ/train.jsonl", boolq(label)).labels, (std::vector<double>{1})) << label;
  for (const char* label : {"false", "0"})
    EXPECT_EQ(read("boolq", "BoolQ/train.jsonl", boolq(label)).labels, (std::vector<double>{0})) << label;
  EXPECT_EQ(ids_of(read("boolq", "BoolQ/train.jsonl", boolq("true")), 0), ids("is it", "it is"));
  for (const char* label : {"\"true\"", "\"1\""}) {
    write("BoolQ/train.jsonl", boolq(label));
    EXPECT_EQ(failure("boolq"), "BoolQ/train.jsonl:1: label is a string, expected true or false");
  }
  write("BoolQ/train.jsonl", boolq("2"));
  EXPECT_EQ(failure("boolq"), "BoolQ/train.jsonl:1: label \"2\"; expected one of False, True");
  std::filesystem::remove_all(folder_ / "BoolQ");
  EXPECT_EQ(read("boolq", "train.csv", "question,passage,label\na,b,True\na,b,false\na,b,0\n").labels,
            (std::vector<double>{1, 0, 0}));
}

TEST_F(BenchmarkTasks, CbHasItsOwnOrderOfClasses) {
  const auto cb = [](const std::string& label) {
    return "{\"premise\": \"a\", \"hypothesis\": \"b\", \"label\": " + label + "}\n";
  };
  EXPECT_EQ(
      read("cb", "CB/train.jsonl", cb("\"contradiction\"") + cb("\"neutral\"") + cb("\"entailment\"") + cb("1")).labels,
      (std::vector<double>{1, 2, 0, 1}));
}

TEST_F(BenchmarkTasks, PlainRteIsTheTaskWhoseColumnsTheFilesHave) {
  const auto name = [&](const std::string& file, const std::string& content) {
    SetUp();
    write(file, content);
    return load("rte").task.name;
  };
  EXPECT_EQ(name("RTE/train.tsv", "index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n"), "glue/rte");
  EXPECT_EQ(
      name("RTE/train.jsonl", "{\"premise\": \"a\", \"hypothesis\": \"b\", \"label\": \"entailment\", \"idx\": 0}\n"),
      "superglue/rte");
  EXPECT_EQ(name("train.jsonl", "{\"sentence1\": \"a\", \"sentence2\": \"b\", \"label\": 0}\n"), "glue/rte");
  EXPECT_EQ(name("train.json", "[{\"premise\": \"a\", \"hypothesis\": \"b\", \"label\": 0}]"), "superglue/rte");
  EXPECT_EQ(name("train.csv", "hypothesis,premise,label\na,b,0\n"), "superglue/rte");
  EXPECT_EQ(name("train.csv", "sentence2,sentence1,label\na,b,0\n"), "glue/rte");
}

TEST(TaskNames, ShortNamesAndOthers) {
  EXPECT_EQ(task_candidates("rte"), (std::vector<std::string>{"glue/rte", "superglue/rte"}));
  EXPECT_EQ(resolve_task_name("wsc.fixed"), "superglue/wsc");
  EXPECT_EQ(resolve_task_name("yelp"), "yelp_polarity");
  EXPECT_TRUE(names_task("rte", "superglue/rte"));
  EXPECT_TRUE(names_task("rte", "glue/rte"));
  EXPECT_FALSE(names_task("glue/rte", "superglue/rte"));
  EXPECT_FALSE(names_task("mnli", "superglue/rte"));
}

// Other sets

TEST_F(BenchmarkTasks, WinograndeFillsItsBlank) {
  const EncodedSplit split =
      read("winogrande", "train.jsonl",
           "{\"sentence\": \"He gave _ a hat .\", \"option1\": \"Al\", \"option2\": \"Bo\", \"answer\": \"2\", "
           "\"qID\": \"x-1\"}\n"
           "{\"sentence\": \"_ won\", \"option1\": \"Al\", \"option2\": \"Bo\", \"answer\": 1}\n");
  EXPECT_EQ(split.sequence_offsets, (std::vector<int64_t>{0, 2, 4}));
  EXPECT_EQ(ids_of(split, 0), ids("He gave Al", " a hat ."));
  EXPECT_EQ(ids_of(split, 1), ids("He gave Bo", " a hat ."));
  EXPECT_EQ(ids_of(split, 3), ids("Bo", " won"));
  EXPECT_EQ(split.labels, (std::vector<double>{1, 0}));
}

TEST_F(BenchmarkTasks, WinograndeOfTheHarness) {
  const EncodedSplit split =
      read("winogrande", "train.jsonl",
           "{\"context_options\": [\"He gave Al\", \"He gave Abe\"], \"continuation\": \"a hat.\", \"gold\": 1}\n"
           "{\"context_options\": [\"He gave Bo\", \"He gave Bo\"], \"continuation\": \"a hat.\", \"gold\": 0}\n");
  EXPECT_EQ(ids_of(split, 0), ids("He gave Al", "a hat."));
  EXPECT_EQ(ids_of(split, 1), ids("He gave Abe", "a hat."));
  EXPECT_EQ(split.labels, (std::vector<double>{1, 0}));
}

TEST_F(BenchmarkTasks, BadRowsOfWinogrande) {
  const auto message = [&](const std::string& sentence, const std::string& answer) {
    write("train.jsonl",
          "{\"sentence\": \"" + sentence + "\", \"option1\": \"a\", \"option2\": \"b\", \"answer\": " + answer + "}\n");
    return failure("winogrande");
  };
  EXPECT_EQ(message("no blank", "1"), "train.jsonl:1: sentence has 0 blanks, expected one \"_\"");
  EXPECT_EQ(message("_ two _", "1"), "train.jsonl:1: sentence has 2 blanks, expected one \"_\"");
  EXPECT_EQ(message("_ one", "\"3\""), "train.jsonl:1: label \"3\"; expected one of 1, 2");
  EXPECT_EQ(message("_ one", "0"), "train.jsonl:1: label \"0\"; expected one of 1, 2");
  EXPECT_EQ(message("_ one", "[1]"), "train.jsonl:1: label is an array, expected a string, an integer or a boolean");
  EXPECT_EQ(message("_ one", "\"\""), "train.jsonl:1: no answer; expected one in every row of train");
  EXPECT_TRUE(read("winogrande", "test.jsonl",
                   "{\"sentence\": \"_ x\", \"option1\": \"a\", \"option2\": \"b\", \"answer\": \"\"}\n", "test")
                  .hidden);
  write("train.jsonl", "{\"context_options\": [\"a\"], \"continuation\": \"b\", \"gold\": 0}\n");
  EXPECT_EQ(failure("winogrande"), "train.jsonl:1: context_options has 1 texts, expected 2");
  data.on_bad_row = "skip";
  data.max_bad_fraction = 0.5;
  std::filesystem::remove(folder_ / "train.jsonl");
  EXPECT_EQ(read("winogrande", "train.csv", "sentence,option1,option2,answer\n_ a,b,c,1\nd,b,c,1\n").statistics.skipped,
            (Counts{{"field", 1}}));
}

TEST_F(BenchmarkTasks, YelpInItsThreeShapes) {
  const EncodedSplit csv = read("yelp", "train.csv", "\"1\",\"bad, \"\"very\"\" bad\"\n\"2\",\"good \\n place\"\n");
  EXPECT_EQ(csv.labels, (std::vector<double>{0, 1}));
  EXPECT_EQ(ids_of(csv, 0), ids("bad, \"very\" bad"));
  EXPECT_EQ(ids_of(csv, 1), ids("good \\n place"));
  SetUp();
  EXPECT_EQ(read("yelp_polarity", "train.csv", "text,label\nbad,0\ngood,1\n").labels, (std::vector<double>{0, 1}));
  EXPECT_EQ(read("yelp_polarity", "test.jsonl", "{\"text\": \"a\", \"label\": 1}\n", "test").labels,
            (std::vector<double>{1}));
  write("sample.txt", "1 good place\n0 \"bad \\n one\n");
  data.files["dev"] = (folder_ / "sample.txt").string();
  const EncodedSplit lines = load("yelp", {"dev"}).splits.at("dev");
  EXPECT_EQ(lines.labels, (std::vector<double>{1, 0}));
  EXPECT_EQ(ids_of(lines, 1), ids("\"bad \\n one"));
  write("train.csv", "\"3\",\"x\"\n");
  EXPECT_EQ(failure("yelp"), "train.csv:1: label \"3\"; expected one of 1, 2");
  write("sample.txt", "1 good place\n1\n");
  EXPECT_EQ(failure("yelp", {"dev"}), "sample.txt:2: 1 columns, expected 2 (label, text)");
}

TEST_F(BenchmarkTasks, ScitailInItsShapes) {
  const EncodedSplit tsv =
      read("scitail", "scitail_1.0_train.tsv", "Ice melts.\tIce is \"solid\".\tentails\na\tb\tneutral\n");
  EXPECT_EQ(tsv.labels, (std::vector<double>{0, 1}));
  EXPECT_EQ(ids_of(tsv, 0), ids("Ice melts.", "Ice is \"solid\"."));
  const EncodedSplit test = read("scitail", "test.tsv", "a\tb\tneutral\n", "test");
  EXPECT_FALSE(test.hidden);
  EXPECT_EQ(read("scitail", "dev.jsonl",
                 "{\"sentence1\": \"a\", \"sentence2\": \"b\", \"gold_label\": \"entailment\"}\n", "dev")
                .labels,
            (std::vector<double>{0}));
  SetUp();
  EXPECT_EQ(read("scitail", "train.tsv", "premise\thypothesis\tlabel\na\tb\tentailment\n").labels,
            (std::vector<double>{0}));
  EXPECT_EQ(read("scitail", "dev.csv", "premise,hypothesis,label\na,b,entails\n", "dev").labels,
            (std::vector<double>{0}));
}

TEST_F(BenchmarkTasks, PawsMayStandInPythonsBytes) {
  const std::string head = "id\tsentence1\tsentence2\tlabel\n";
  EXPECT_EQ(ids_of(read("paws", "train.tsv", head + "5\tb'a'\tc\t1\n"), 0), ids("b'a'", "c")) << "only when asked for";
  data.paws_bytes = true;
  const EncodedSplit split =
      read("paws", "train.tsv", head + "5\tb'caf\\xc3\\xa9 it\\'s'\tb\"it's\"\t1\n9\tplain\tb'\t0\n");
  EXPECT_EQ(ids_of(split, 0), ids("café it's", "it's"));
  EXPECT_EQ(ids_of(split, 1), ids("plain", "b'"));
  EXPECT_EQ(split.idx, (std::vector<int64_t>{5, 9}));
  write("train.tsv", head + "5\tb'\\xff'\tc\t1\n");
  EXPECT_EQ(failure("paws"), "train.tsv:2: byte 1: invalid UTF-8 (0xff)");
  write("train.tsv", head + "5\tb'\\q'\tc\t1\n");
  EXPECT_EQ(failure("paws"), "train.tsv:2: column 4 of a text in b'...': unknown escape");
  write("SST-2/train.tsv", "sentence\tlabel\na\t1\n");
  EXPECT_NE(failure<ConfigError>("sst2").find("data.paws_bytes"), std::string::npos);
}

TEST_F(BenchmarkTasks, FingerprintsAreThoseOfOlderVersions) {
  write("train.tsv", "sentence\tlabel\na\t1\n");
  const std::string before = load("sst2").fingerprint;
  data.on_bad_row = "error";
  EXPECT_EQ(load("sst2").fingerprint, before);
  data.on_bad_row = "skip";
  EXPECT_NE(load("sst2").fingerprint, before);
}

}  // namespace
}  // namespace peft
