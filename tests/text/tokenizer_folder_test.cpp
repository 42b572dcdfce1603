// Folders whose files say different things; tests/oracle/tokenizer_folder_test.py compares random ones with
// transformers.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "peft/base/error.h"
#include "src/text/tokenizer_files.h"

namespace peft::text {
namespace {

using testing::ElementsAre;

// ids:                     0      1      2      3      4       5    6     7      8   9   10
constexpr auto kVocab = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n<s>\n</s>\n<pad>\n<mask>\na\nb\n";

struct Texts {
  std::string config = {}, model = {}, map = {}, added = {}, vocab = kVocab, json = {};
};

std::unique_ptr<Tokenizer> make(const Texts& texts) {
  const auto some = [](const std::string& text, const char* name) {
    return text.empty() ? std::nullopt : std::optional(SourceText{text, name});
  };
  return make_pipeline(read_tokenizer({.tokenizer_json = some(texts.json, "t.json"),
                                       .vocab_txt = some(texts.vocab, "v.txt"),
                                       .tokenizer_config = some(texts.config, "c.json"),
                                       .special_tokens_map = some(texts.map, "m.json"),
                                       .added_tokens = some(texts.added, "a.json"),
                                       .model_config = some(texts.model, "config.json")}));
}

std::string message(const Texts& texts) {
  try {
    make(texts);
  } catch (const DataError& error) {
    return error.what();
  }
  return "no error";
}

TEST(TokenizerFolder, MpnetByModelTypeOrClass) {
  for (const Texts& texts :
       {Texts{.model = R"({"model_type": "mpnet"})"},
        Texts{.config = R"({"tokenizer_class": "MPNetTokenizerFast"})", .model = R"({"model_type": "bert"})"}}) {
    const auto tokenizer = make(texts);
    const auto encoding = tokenizer->encode("A  <mask>", "b", {.offsets = true});
    EXPECT_THAT(encoding.ids, ElementsAre(5, 9, 8, 6, 6, 10, 6));
    EXPECT_THAT(encoding.types, ElementsAre(0, 0, 0, 0, 0, 0, 0));
    EXPECT_EQ(encoding.offsets[2], (Span{3, 9})) << "the blanks that the mask swallows are trimmed";
    EXPECT_EQ(tokenizer->pad_id(), 7);
  }
}

TEST(TokenizerFolder, AddedTokensFileIsRead) {
  const auto tokenizer = make({.model = R"({"model_type": "bert"})", .added = R"({"[E1]": 11, "[/E1]": 12})"});
  EXPECT_THAT(tokenizer->encode("a [E1] b[/E1]").ids, ElementsAre(2, 9, 11, 10, 12, 3));
  EXPECT_EQ(message({.added = R"({"[E1]": 40})"}),
            "a.json: [E1]: token \"[E1]\" has id 40, expected 11 (the next free one)");
}

TEST(TokenizerFolder, SpecialTokensMapOverridesUnlessTheDecoderSpeaks) {
  const Texts texts{.config = R"({"cls_token": "[CLS]"})", .map = R"({"cls_token": "<s>"})"};
  EXPECT_THAT(make(texts)->encode("a").ids, ElementsAre(5, 9, 3));
  EXPECT_THAT(
      make({.config = R"({"cls_token": "[CLS]", "added_tokens_decoder": {}})", .map = texts.map})->encode("a").ids,
      ElementsAre(2, 9, 3));
}

TEST(TokenizerFolder, ABertClassTakesOnlyVocabularyAndTokensOfTokenizerJson) {
  constexpr auto kJson = R"({"model": {"type": "WordPiece", "vocab": {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3}},
      "normalizer": {"type": "Nmt"}, "added_tokens": [{"id": 4, "content": "new", "single_word": false, "lstrip": false,
      "rstrip": false, "normalized": true, "special": false}]})";
  const auto tokenizer = make({.model = R"({"model_type": "bert"})", .vocab = "", .json = kJson});
  EXPECT_THAT(tokenizer->encode("A new").ids, ElementsAre(1, 3, 4, 2));
  EXPECT_EQ(message({.vocab = "", .json = R"({"model": {"type": "Unigram"}})"}),
            "t.json: model: type \"Unigram\" is not supported (supported: WordPiece)");
}

TEST(TokenizerFolder, WhatCannotBeHonouredIsNamed) {
  EXPECT_THAT(message({.config = R"({"tokenizer_class": "FunnelTokenizer"})"}),
              testing::StartsWith("c.json: tokenizer_class: class \"FunnelTokenizer\" is not supported (supported: "));
  EXPECT_EQ(message({.config = R"({"tokenizer_class": "PreTrainedTokenizerFast"})"}),
            "v.txt: class PreTrainedTokenizerFast reads tokenizer.json, which is missing");
  EXPECT_EQ(message({.config = R"({"truncation_side": "middle"})"}),
            "c.json: truncation_side: found \"middle\", expected left or right");
  EXPECT_EQ(message({.config = R"({"unk_token": null})"}), "c.json: unk_token: is null, expected a token");
}

TEST(TokenizerFolder, TruncationSideAndSplitSpecialTokens) {
  const auto left = make({.config = R"({"truncation_side": "left"})"});
  EXPECT_THAT(left->encode("a b a", std::nullopt, {.max_length = 4}).ids, ElementsAre(2, 10, 9, 3));
  const auto split = make({.config = R"({"split_special_tokens": true})"});
  EXPECT_THAT(split->encode("[CLS]").ids, ElementsAre(2, 1, 1, 1, 3));
}

TEST(TokenizerFolder, DecodesWithAndWithoutSpecialTokens) {
  const auto tokenizer = make({});
  const std::vector<int32_t> ids = {2, 9, 10, 3, -1, 99};
  EXPECT_EQ(tokenizer->decode(ids), "[CLS] a b [SEP]");
  EXPECT_EQ(tokenizer->decode(ids, {.skip_special_tokens = true}), "a b");
}

}  // namespace
}  // namespace peft::text
