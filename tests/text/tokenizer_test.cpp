#include "peft/text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "peft/base/error.h"

namespace fs = std::filesystem;

namespace peft {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class TokenizerTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) /
              (std::string("tokenizer_") + testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  void write(const std::string& name, const std::string& text) { std::ofstream(folder_ / name) << text; }
  void write_vocab() { write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\n##b\nc\n"); }

  std::string load_message() const {
    try {
      Tokenizer::load(folder_);
    } catch (const DataError& error) {
      return error.what();
    }
    return "no error";
  }

  fs::path folder_;
};

TEST_F(TokenizerTest, MissingFilesAreNamed) {
  write("spiece.model", "");
  EXPECT_EQ(load_message(), folder_.string() + ": neither tokenizer.json nor vocab.txt; the folder holds spiece.model");
  fs::remove_all(folder_);
  EXPECT_THAT(load_message(), HasSubstr("no such folder, expected a model folder with tokenizer.json or vocab.txt"));
}

TEST_F(TokenizerTest, TokenizerJsonComesFirst) {
  write_vocab();
  write("tokenizer.json", "{}");
  EXPECT_EQ(load_message(), (folder_ / "tokenizer.json").string() + ": key \"model\" is missing");
}

TEST_F(TokenizerTest, EmptyAndBrokenFilesAreDataErrors) {
  write("tokenizer.json", "");
  EXPECT_THAT(load_message(), HasSubstr("tokenizer.json"));
  fs::remove(folder_ / "tokenizer.json");
  fs::create_directory(folder_ / "tokenizer.json");
  EXPECT_THAT(load_message(), HasSubstr("tokenizer.json"));
}

TEST_F(TokenizerTest, PairsTypesAndLostTokens) {
  write_vocab();
  const auto tokenizer = Tokenizer::load(folder_);
  const auto whole = tokenizer->encode("a ab", "c");
  EXPECT_THAT(whole.ids, ElementsAre(2, 4, 4, 6, 3, 7, 3));
  EXPECT_THAT(whole.types, ElementsAre(0, 0, 0, 0, 0, 1, 1));
  const auto cut = tokenizer->encode("a ab", "c", {.max_length = 5});
  EXPECT_THAT(cut.ids, ElementsAre(2, 4, 3, 7, 3));
  EXPECT_THAT(cut.types, ElementsAre(0, 0, 0, 1, 1));
  EXPECT_EQ(cut.lost_tokens, 2);
  const auto bare = tokenizer->encode("a ab", "c", {.add_special_tokens = false, .max_length = 2});
  EXPECT_THAT(bare.ids, ElementsAre(4, 7));
  EXPECT_THAT(bare.types, ElementsAre(0, 1));
}

TEST_F(TokenizerTest, EmptyTexts) {
  write_vocab();
  const auto tokenizer = Tokenizer::load(folder_);
  EXPECT_THAT(tokenizer->encode("").ids, ElementsAre(2, 3));
  EXPECT_THAT(tokenizer->encode("", "").ids, ElementsAre(2, 3, 3));
  EXPECT_TRUE(tokenizer->encode("", std::nullopt, {.add_special_tokens = false}).ids.empty());
}

TEST_F(TokenizerTest, NoRoomIsAnError) {
  write_vocab();
  const auto tokenizer = Tokenizer::load(folder_);
  EXPECT_THAT(tokenizer->encode("a", "b", {.max_length = 3}).ids, ElementsAre(2, 3, 3));
  EXPECT_THROW(tokenizer->encode("a", "b", {.max_length = 2}), DataError);
  EXPECT_THROW(tokenizer->encode("a", "b b", {.max_length = 4, .truncation = Truncation::only_first}), DataError);
}

TEST_F(TokenizerTest, InvalidUtf8IsAnErrorThatNamesTheByte) {
  write_vocab();
  std::vector<int32_t> ids;
  try {
    Tokenizer::load(folder_)->encode_content("ab\xFF", ids);
    FAIL();
  } catch (const DataError& error) {
    EXPECT_STREQ(error.what(), "byte 3: invalid UTF-8 (0xff)");
  }
}

TEST_F(TokenizerTest, ContentIsAppended) {
  write_vocab();
  std::vector<int32_t> ids = {9};
  Tokenizer::load(folder_)->encode_content("b[SEP]", ids);
  EXPECT_THAT(ids, ElementsAre(9, 5, 3));
}

TEST_F(TokenizerTest, FingerprintFollowsTheFilesRead) {
  write_vocab();
  const std::string bare = Tokenizer::load(folder_)->fingerprint();
  EXPECT_EQ(Tokenizer::load(folder_)->fingerprint(), bare);
  write("README.md", "not read");
  EXPECT_EQ(Tokenizer::load(folder_)->fingerprint(), bare);
  write("tokenizer_config.json", "{}");
  EXPECT_NE(Tokenizer::load(folder_)->fingerprint(), bare);
}

TEST_F(TokenizerTest, ThreadsShareOneTokenizer) {
  write_vocab();
  const auto tokenizer = Tokenizer::load(folder_);
  const auto expected = tokenizer->encode("ab é a [SEP] b", "c ab").ids;
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int k = 0; k < 500; ++k) wrong += tokenizer->encode("ab é a [SEP] b", "c ab").ids != expected;
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace peft
