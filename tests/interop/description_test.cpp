#include "peft/interop/description.h"

#include <gmock/gmock.h>

#include "peft/base/error.h"
#include "peft/base/files.h"
#include "tests/base/temporary_folder.h"

namespace peft {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::ThrowsMessage;

class DescriptionOf : public testing::Test {
 protected:
  TemporaryFolder folder_;

  static Description example() {
    Description description;
    description.task.name = "classification";
    description.task.max_length = 48;
    description.data.columns.text = "sentence";
    description.data.delimiter = ";";
    description.data.files["train"] = "somewhere";  // of the run alone
    description.method = "lora";
    description.pooling = "first_of_text";
    description.trainable_parameters = 1234;
    description.base_model = "acme/tiny";
    description.fingerprint = "0123abcd";
    description.dtype = "bfloat16";
    description.scores = {{"split", "dev"}, {"n", 30}, {"accuracy", 0.5}, {"ci95", {{"accuracy", {0.25, 0.75}}}}};
    return description;
  }
};

TEST_F(DescriptionOf, AFolderIsReadAsWritten) {
  write_atomic(folder_ / "task.json", to_text(example()));
  const auto read = read_description(folder_.path());
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->task.name, "classification");
  EXPECT_EQ(read->task.max_length, 48);
  EXPECT_EQ(read->data.columns.text, "sentence");
  EXPECT_EQ(read->data.delimiter, ";");
  EXPECT_TRUE(read->data.files.empty());
  EXPECT_EQ(read->dtype, "bfloat16");
  EXPECT_EQ(read->scores, example().scores);
  EXPECT_EQ(to_text(*read), to_text(example()));
}

TEST_F(DescriptionOf, AFolderWithoutOneIsNoError) { EXPECT_FALSE(read_description(folder_.path()).has_value()); }

TEST_F(DescriptionOf, ADamagedOrNewerFileIsRefused) {
  const auto refused = [&](const std::string& text, const std::string& why) {
    write_atomic(folder_ / "task.json", text);
    EXPECT_THAT([&] { read_description(folder_.path()); },
                ThrowsMessage<DataError>(AllOf(HasSubstr("task.json"), HasSubstr(why))));
  };
  refused("{", "column");
  refused("[]", "format_version: missing");
  refused(R"({"format_version": 2})", "format_version 2 is newer than 1");
  refused(R"({"format_version": 1, "task": {"max_length": "long"}})", "max_length");
  refused(R"({"format_version": 1, "task": {"name": "sst3"}})", "sst3");
  refused(R"({"format_version": 1, "task": {"name": "sst2"}, "data": {"delimiter": ""}})", "data.delimiter");
  refused(R"({"format_version": 1, "task": {"name": "sst2"}, "scores": []})", "scores: found array");
}

TEST_F(DescriptionOf, TheCardTellsWhoReadsTheFolder) {
  const std::string peft = model_card(example(), {"no", "yes"}, "LORA");
  EXPECT_THAT(peft, AllOf(HasSubstr("base_model: acme/tiny\nlibrary_name: peft\n"), HasSubstr("| no, yes |"),
                          HasSubstr("accuracy 0.5000 (95 % interval 0.2500 to 0.7500)"),
                          HasSubstr("peft computes the same logits")));
  const std::string ours = model_card(example(), {"no", "yes"}, "PEFT_CPP_PROMPT_TUNING");
  EXPECT_THAT(ours, AllOf(Not(HasSubstr("library_name")), HasSubstr("it refuses this folder")));
  EXPECT_THAT(model_card(example(), {}, ""), AllOf(HasSubstr("A whole model"), Not(HasSubstr("labels"))));
}

TEST_F(DescriptionOf, AModelsNameIsItsOwnOrNone) {
  const auto named = [&](const std::filesystem::path& folder, const Json& config) {
    std::filesystem::create_directories(folder_ / folder);
    write_atomic(folder_ / folder / "config.json", config.dump());
    return model_name(folder_ / folder);
  };
  EXPECT_EQ(named("models--acme--tiny-bert/snapshots/0abc", {{"_name_or_path", "acme/parent"}}), "acme/tiny-bert");
  EXPECT_EQ(named("models--bert-base-uncased/snapshots/0abc", Json::object()), "bert-base-uncased");
  EXPECT_EQ(named("tiny-bert", {{"_name_or_path", "acme/tiny-bert"}}), "acme/tiny-bert");
  EXPECT_EQ(named("tiny-bert-finetuned", {{"_name_or_path", "acme/tiny-bert"}}), "");  // what it was made from
  EXPECT_EQ(named("tiny", {{"_name_or_path", "/home/someone/tiny"}}), "");
  EXPECT_EQ(named("plain", Json::object()), "");
}

}  // namespace
}  // namespace peft
