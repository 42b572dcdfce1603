#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "peft/base/error.h"
#include "src/text/tokenizer_files.h"

namespace peft::text {
namespace {

using testing::ElementsAre;

// ids:                       0      1      2      3      4       5  6    7
constexpr auto kUncased = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##b\né\n";
constexpr auto kCased = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nA\n漢\n漢a\n";

std::unique_ptr<Tokenizer> make(const std::string& vocab, const std::string& config = {}) {
  TokenizerFiles files{.vocab_txt = SourceText{vocab, "v.txt"}};
  if (!config.empty()) files.tokenizer_config = SourceText{config, "c.json"};
  return make_pipeline(read_tokenizer(files));
}

std::vector<int32_t> content(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<int32_t> ids;
  tokenizer.encode_content(text, ids);
  return ids;
}

std::string message(const std::string& vocab, const std::string& config = {}) {
  try {
    make(vocab, config);
  } catch (const DataError& error) {
    return error.what();
  }
  return "no error";
}

TEST(VocabTxt, CapitalsOutsideBracketsMeanCased) {
  EXPECT_THAT(content(*make(kUncased), "A AB"), ElementsAre(5, 5, 6));
  EXPECT_THAT(content(*make(kCased), "A a"), ElementsAre(6, 5));
}

TEST(VocabTxt, TheConfigDecidesWhenItSpeaks) {
  EXPECT_THAT(content(*make(kCased, R"({"do_lower_case": true})"), "A"), ElementsAre(5));
  EXPECT_THAT(content(*make(kUncased, R"({"do_lower_case": false})"), "A"), ElementsAre(1));
  EXPECT_THAT(content(*make(kUncased, R"({"model_max_length": 512})"), "A"), ElementsAre(5));
  EXPECT_THAT(content(*make(kUncased), "é"), ElementsAre(1));
  EXPECT_THAT(content(*make(kUncased, R"({"strip_accents": false})"), "é"), ElementsAre(7));
  EXPECT_THAT(content(*make(kCased), "漢a"), ElementsAre(7, 5));
  EXPECT_THAT(content(*make(kCased, R"({"tokenize_chinese_chars": false})"), "漢a"), ElementsAre(8));
}

TEST(VocabTxt, SpecialTokensInTheText) {
  EXPECT_THAT(content(*make(kUncased), "a[MASK]a [mask]"), ElementsAre(5, 4, 5, 1, 1, 1));
  EXPECT_EQ(make(kUncased)->pad_id(), 0);
}

TEST(VocabTxt, NamedTokensThatTheVocabularyLacksGetTheNextIds) {
  const auto tokenizer =
      make(kUncased, R"({"additional_special_tokens": ["<x>", {"content": "<y>"}], "pad_token": "<p>"})");
  EXPECT_THAT(content(*tokenizer, "a<x><y>"), ElementsAre(5, 9, 10));
  EXPECT_EQ(tokenizer->pad_id(), 8);
  EXPECT_EQ(tokenizer->size(), 11);
}

TEST(VocabTxt, UsualTokensThatTheVocabularyLacksAreUnknown) {
  const auto tokenizer = make("[UNK]\n[CLS]\n[SEP]\na\n");
  EXPECT_THAT(content(*tokenizer, "a [MASK]"), ElementsAre(3, 0, 0, 0));
  EXPECT_EQ(tokenizer->pad_id(), std::nullopt);
  EXPECT_EQ(tokenizer->size(), 4);
}

TEST(VocabTxt, NullSwitchesATokenOff) {
  const auto tokenizer = make(kUncased, R"({"pad_token": null, "mask_token": null, "cls_token": null})");
  EXPECT_EQ(tokenizer->pad_id(), std::nullopt);
  EXPECT_THAT(tokenizer->encode("[PAD][SEP]").ids, ElementsAre(2, 1, 1, 1, 3, 3));
}

TEST(VocabTxt, DecoderTokensKeepTheirFlags) {
  const auto tokenizer =
      make(kUncased, R"({"added_tokens_decoder": {"8": {"content": "Qq", "lstrip": true, "normalized": false,
                                            "rstrip": false, "single_word": true, "special": false}}})");
  EXPECT_THAT(content(*tokenizer, "a  Qq aQq"), ElementsAre(5, 8, 1));
}

TEST(VocabTxt, MissingTokensAndBadOptionsAreErrors) {
  EXPECT_EQ(message("[CLS]\n[SEP]\na\n"), "v.txt: unk_token \"[UNK]\" is not in the vocabulary");
  EXPECT_EQ(message("[UNK]\n[SEP]\na\n"), "v.txt: cls_token \"[CLS]\" is not in the vocabulary");
  EXPECT_EQ(message("[UNK]\n[CLS]\na\n"), "v.txt: sep_token \"[SEP]\" is not in the vocabulary");
  EXPECT_EQ(message(kUncased, R"({"do_lower_case": "yes"})"),
            "c.json: do_lower_case: is string, expected true or false");
  EXPECT_EQ(message(kUncased, R"({"added_tokens_decoder": {"x": {}}})"),
            "c.json: added_tokens_decoder: \"x\", expected a token id");
  EXPECT_EQ(message(kUncased, "[]"), "c.json: is array, expected an object");
}

}  // namespace
}  // namespace peft::text
