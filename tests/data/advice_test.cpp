// Mistakes that many users make end in the sentence that solves them (docs/tasks.md#your-own-files,
// docs/tasks.md#bad-input).
#include <gmock/gmock.h>

#include "fixtures.h"

namespace peft {
namespace {

using testing::HasSubstr;
using testing::Not;

class Advice : public FolderTest {
 protected:
  std::vector<std::string> labels(const std::string& task = "classification") { return load(task).task.labels; }
  std::string told(const std::string& task = "classification") {
    testing::internal::CaptureStderr();
    load(task);
    return testing::internal::GetCapturedStderr();
  }
};

TEST_F(Advice, MinusOneAndOneAreTwoClasses) {
  write("train.csv", "text,label\na,1\nb,-1\n");
  write("test.csv", "text,label\na,-1\n");
  const Dataset dataset = load("classification", {"train", "test"});
  EXPECT_EQ(dataset.task.labels, (std::vector<std::string>{"-1", "1"}));
  EXPECT_EQ(dataset.splits.at("train").labels[1], 0);
  EXPECT_FALSE(dataset.splits.at("test").hidden);
}

TEST_F(Advice, MinusOneBesideOtherLabelsAsksForDataLabels) {
  for (const char* rows : {"a,1\nb,-1\nc,0\n", "a,yes\nb,-1\n", "a,-1\n", "a,-1.0\nb,0.0\nc,1.0\n"}) {
    write("train.csv", std::string("text,label\n") + rows);
    EXPECT_THAT(failure("classification"), HasSubstr("train.csv: rows have the label -1")) << rows;
    EXPECT_THAT(failure("classification"), HasSubstr("list it in data.labels where it is a class")) << rows;
  }
  write("train.csv", "text,label\na,1\nb,-1\nc,0\n");
  data.labels = {"-1", "0", "1"};
  EXPECT_EQ(load("classification").splits.at("train").size(), 3);
}

TEST_F(Advice, SkippingBadRowsLosesNoClass) {
  data.on_bad_row = "skip";
  data.max_bad_fraction = 1;
  write("train.csv", "text,label\na,1\nb,-1\n");
  EXPECT_THAT(failure("classification"), HasSubstr("data.labels"));
  data.labels = {"no", "yes"};
  write("train.csv", "text,label\na,yes\nb,No\nc,yes\n");
  testing::internal::CaptureStderr();
  EXPECT_EQ(failure("classification"),
            "train.csv: data.on_bad_row \"skip\" left out 1 rows, and all other examples have the label yes: no row of "
            "another of the classes no, yes is left");
  testing::internal::GetCapturedStderr();
}

TEST_F(Advice, AListMayNotHoldMinusOneUnnamed) {
  write("train.csv", "text,label\na,1|-1\nb,1\n");
  EXPECT_THAT(failure("multi_label"), HasSubstr("data.labels"));
}

TEST_F(Advice, AMinusOneThatIsNoClassSaysHowItBecomesOne) {
  data.labels = {"0", "1"};
  write("train.csv", "text,label\na,1\nb,-1\n");
  EXPECT_THAT(
      failure("classification"),
      HasSubstr("train.csv:3: no label; expected one in every row of train (-1 stands for a hidden label; where "
                "it is a class, data.labels must name it"));
  data.labels.clear();
  write("train.csv", "sentence,label\na,1\nb,-1\n");
  EXPECT_THAT(failure("sst2"), Not(HasSubstr("data.labels")));  // whose classes are known
}

TEST_F(Advice, OneAndOnePointZeroAreOneClass) {
  write("train.csv", "text,label\na,1\nb,1.0\nc,0\n");
  EXPECT_EQ(labels(), (std::vector<std::string>{"0", "1"}));
  write("train.csv", "text,label\na,+1\nb,1.0\nc,0\n");
  EXPECT_EQ(labels(), (std::vector<std::string>{"0", "1"}));
  write("train.csv", "text,label\na,-1\nb,1.0\nc,-1.0\n");
  EXPECT_EQ(labels(), (std::vector<std::string>{"-1", "1.0"}));
  write("train.csv", "text,label\na,1.0\nb,0.0\n");
  EXPECT_EQ(labels(), (std::vector<std::string>{"0.0", "1.0"}));
  write("dev.jsonl", "{\"text\": \"a\", \"label\": 1}\n{\"text\": \"b\", \"label\": \"0\"}\n");
  const Dataset dataset = load("classification", {"train", "dev"});
  EXPECT_EQ(dataset.splits.at("dev").labels[0], 1);
  EXPECT_EQ(dataset.splits.at("dev").labels[1], 0);
}

TEST_F(Advice, NumbersOfABenchmarksClassesMayBeSpelledSo) {
  write("train.csv", "sentence,label,idx\na,1.0,3.0\nb,0.0,4.0\n");
  const EncodedSplit split = load("sst2").splits.at("train");
  EXPECT_EQ(split.labels, (std::vector<double>{1, 0}));
  EXPECT_EQ(split.idx, (std::vector<int64_t>{3, 4}));
}

TEST_F(Advice, AWholeNumberNeverIndexesNamesThatAreNumbers) {
  write("train.csv", "text,label\na,1.0\nb,2.0\n");
  write("dev.csv", "text,label\na,1\nb,2\n");
  const Dataset dataset = load("classification", {"train", "dev"});
  EXPECT_EQ(dataset.splits.at("dev").labels[0], 0);
  EXPECT_EQ(dataset.splits.at("dev").labels[1], 1);
}

TEST_F(Advice, SignsAreNumbersAndCodesAreNot) {
  write("train.csv", "text,label\na,+1\nb,-1\n");
  EXPECT_EQ(labels(), (std::vector<std::string>{"-1", "+1"}));
  write("train.csv", "text,label\na,7\nb,007\n");
  EXPECT_EQ(labels(), (std::vector<std::string>{"007", "7"}));
}

TEST_F(Advice, DecimalsStayNames) {
  write("train.csv", "text,label\na,1.5\nb,1.0\nc,2.\n");
  EXPECT_EQ(labels(), (std::vector<std::string>{"1.0", "1.5", "2."}));
}

TEST_F(Advice, AWrongDelimiterIsNamed) {
  for (const auto& [header, spelled] : std::map<std::string, std::string>{
           {"text;label", ";"}, {"\"text\";\"label\"", ";"}, {"text\tlabel", "\\t"}, {"id|text|label", "|"}}) {
    write("train.csv", header + "\na;b\n");
    EXPECT_THAT(failure("classification"), HasSubstr("set data.delimiter to \"" + spelled + "\"")) << header;
  }
  data.delimiter = ";";
  write("train.csv", "text,label\na,b\n");
  EXPECT_THAT(failure("classification"), HasSubstr("set data.delimiter to \",\""));
  std::filesystem::remove(folder_ / "train.csv");
  write("train.tsv", "text,label\na,b\n");
  EXPECT_THAT(failure("classification"), HasSubstr("set data.format to \"csv\""));
}

TEST_F(Advice, AHeaderWithoutTheColumnsGetsNoSuchAdvice) {
  write("train.csv", "txt;lbl\na;b\n");
  EXPECT_THAT(failure("classification"), HasSubstr("train.csv:1: header txt;lbl; expected "));
  EXPECT_THAT(failure("classification"), Not(HasSubstr("delimiter")));
}

TEST_F(Advice, AQuotedTsvFileIsNoticed) {
  const std::string advice = "data.quoting \"csv\" reads quoted fields";
  write("train.tsv", "\"text\"\t\"label\"\n\"a\"\t\"x\"\n");
  EXPECT_THAT(failure("classification"), HasSubstr(advice));
  write("train.tsv", "text\tlabel\nplain\tx\n\"say \"\"yes\"\" twice\"\ty\n\"\"\"a\"\"\"\ty\n");
  const std::string once = told();
  EXPECT_THAT(once, HasSubstr("train.tsv:3: a field stands in quotes as in csv"));
  EXPECT_THAT(once, HasSubstr(advice));
  EXPECT_THAT(once, Not(HasSubstr("train.tsv:4")));
  write("train.tsv", "text\tlabel\n\"a\nb\"\tx\n");
  EXPECT_THAT(failure("classification"), HasSubstr("train.tsv:2: 1 columns, expected 2 (text, label); " + advice));
  data.quoting = "csv";
  EXPECT_THAT(told(), Not(HasSubstr(advice)));
}

TEST_F(Advice, QuotesOfATextAreNoCsv) {
  write("train.tsv", "text\tlabel\n\"a\"\tx\n\"a\" and \"b\"\ty\nsay \"\"\ty\n\"\"\ty\n");
  EXPECT_THAT(told(), Not(HasSubstr("quoting")));
}

TEST_F(Advice, AColumnIdxThatHoldsNoIdsCanBeLeftOut) {
  const std::string advice = "for none, set data.columns.idx to \"\"";
  write("train.csv", "text,label,idx\na,x,7\nb,y,7\n");
  EXPECT_THAT(failure("classification"), HasSubstr("train.csv:3: idx 7 already stands in line 2; "));
  EXPECT_THAT(failure("classification"), HasSubstr(advice));
  write("train.csv", "text,label,idx\na,x,first\nb,y,second\n");
  EXPECT_THAT(failure("classification"), HasSubstr("train.csv:2: idx is \"first\", expected an integer; "));
  EXPECT_THAT(failure("classification"), HasSubstr(advice));
  data.columns.idx = "";
  EXPECT_EQ(load("classification").splits.at("train").idx, (std::vector<int64_t>{0, 1}));
}

}  // namespace
}  // namespace peft
