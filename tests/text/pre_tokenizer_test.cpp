#include "src/text/pre_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "peft/base/error.h"
#include "tests/text/unsupported.h"

namespace peft::text {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string_view> split(const PreTokenizer& pre_tokenizer, std::string_view text) {
  std::vector<std::string_view> words = {"left from before"};
  Storage storage;
  storage.reset(text);
  pre_tokenizer.split(text, storage, words);
  return words;
}

TEST(BertPreTokenizer, SplitsAtSpacesAndAroundPunctuation) {
  const auto bert = make_bert_pre_tokenizer();
  EXPECT_THAT(split(*bert, " can't  stop..."), ElementsAre("can", "'", "t", "stop", ".", ".", "."));
  EXPECT_THAT(split(*bert,
                    "a\xC2\xA0"
                    "b、c$"),
              ElementsAre("a", "b", "、", "c", "$"));
  EXPECT_THAT(split(*bert, " \t"), IsEmpty());
  EXPECT_THAT(split(*bert, ""), IsEmpty());
}

TEST(PreTokenizer, AbsentMeansOneWord) {
  EXPECT_THAT(split(*make_no_pre_tokenizer(), "a b."), ElementsAre("a b."));
  EXPECT_THAT(split(*make_no_pre_tokenizer(), ""), IsEmpty());
}

TEST(PreTokenizer, UnknownTypeIsAnError) {
  const Json json = {{"type", "Nothing"}};
  try {
    make_pre_tokenizer(JsonSection(json, "t.json", "pre_tokenizer"));
    FAIL();
  } catch (const DataError& error) {
    EXPECT_EQ(error.what(), unsupported("pre_tokenizer", pre_tokenizers().names()));
  }
}

}  // namespace
}  // namespace peft::text
