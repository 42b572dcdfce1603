#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "peft/base/error.h"
#include "src/text/tokenizer_files.h"

namespace peft::text {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Json small_json() {
  return Json::parse(R"({
    "version": "1.0", "truncation": {"max_length": 2}, "padding": null, "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
    "added_tokens": [
      {"id": 1, "content": "[CLS]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
      {"id": 6, "content": "new", "single_word": false, "lstrip": false, "rstrip": false, "normalized": true, "special": false}],
    "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
                   "lowercase": true},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
    "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
              "vocab": {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3, "##b": 4, "[PAD]": 5}}})");
}

std::unique_ptr<Tokenizer> make(const Json& json, const std::string& config = {}) {
  const std::string text = json.dump();
  TokenizerFiles files{.tokenizer_json = SourceText{text, "t.json"}};
  if (!config.empty()) files.tokenizer_config = SourceText{config, "c.json"};
  return make_pipeline(read_tokenizer(files));
}

std::string message(const Json& json, const std::string& config = {}) {
  try {
    make(json, config);
  } catch (const DataError& error) {
    return error.what();
  }
  return "no error";
}

TEST(TokenizerJson, EncodesWithItsTemplateAndIgnoresItsTruncation) {
  const auto encoding = make(small_json())->encode("ab A", "NEWa [CLS]");
  EXPECT_THAT(encoding.ids, ElementsAre(1, 3, 4, 3, 2, 6, 3, 1, 2));
  EXPECT_THAT(encoding.types, ElementsAre(0, 0, 0, 0, 0, 1, 1, 1, 1));
  EXPECT_EQ(encoding.lost_tokens, 0);
}

TEST(TokenizerJson, KnowsItsTokens) {
  const auto tokenizer = make(small_json());
  EXPECT_EQ(tokenizer->size(), 7);
  EXPECT_EQ(tokenizer->token_to_id("new"), 6);
  EXPECT_EQ(tokenizer->id_to_token(6), "new");
  EXPECT_EQ(tokenizer->id_to_token(4), "##b");
  EXPECT_EQ(tokenizer->token_to_id("none"), std::nullopt);
  EXPECT_THROW(tokenizer->id_to_token(7), DataError);
  EXPECT_THROW(tokenizer->id_to_token(-1), DataError);
}

TEST(TokenizerJson, PaddingTokenFromTheConfigThePaddingSectionOrItsUsualName) {
  Json json = small_json();
  EXPECT_EQ(make(json)->pad_id(), 5);
  json["padding"] = {{"pad_token", "a"}};
  EXPECT_EQ(make(json)->pad_id(), 3);
  EXPECT_EQ(make(json, R"({"pad_token": "new"})")->pad_id(), 6);
  EXPECT_EQ(make(json, R"({"pad_token": {"content": "[SEP]"}})")->pad_id(), 2);
  EXPECT_EQ(make(json, R"({"pad_token": null})")->pad_id(), std::nullopt);
  const auto with_new = make(json, R"({"pad_token": "none"})");
  EXPECT_EQ(with_new->pad_id(), 7) << "as transformers: a named token that the vocabulary lacks gets the next id";
  EXPECT_EQ(with_new->size(), 8);
}

TEST(TokenizerJson, AbsentStepsDoNothing) {
  Json json = small_json();
  for (const char* key : {"normalizer", "pre_tokenizer", "post_processor", "added_tokens"}) json[key] = nullptr;
  EXPECT_THAT(make(json)->encode("ab").ids, ElementsAre(3, 4));
  EXPECT_THAT(make(json)->encode("Ab").ids, ElementsAre(0));
}

TEST(TokenizerJson, OldFilesWithoutAModelType) {
  Json json = small_json();
  json["model"].erase("type");
  EXPECT_THAT(make(json)->encode("ab").ids, ElementsAre(1, 3, 4, 2));
  json["model"].erase("max_input_chars_per_word");
  EXPECT_EQ(message(json), "t.json: model: key \"type\" is missing (supported: WordPiece)");
}

TEST(TokenizerJson, OtherModelsAreNamed) {
  Json json = small_json();
  json["model"] = {{"type", "BPE"}};
  EXPECT_EQ(message(json), "t.json: model: type \"BPE\" is not supported (supported: WordPiece)");
}

TEST(TokenizerJson, ErrorsNameTheKey) {
  Json json = small_json();
  json["model"]["unk_token"] = "<unk>";
  EXPECT_EQ(message(json), "t.json: model: unk_token \"<unk>\" is not in the vocabulary");
  json = small_json();
  json["added_tokens"][1]["id"] = 9;
  EXPECT_EQ(message(json), "t.json: added_tokens[1]: token \"new\" has id 9, expected 6 (the next free one)");
  json = small_json();
  json["added_tokens"][0]["id"] = 0;
  EXPECT_EQ(message(json), "t.json: added_tokens[0]: token \"[CLS]\" has id 0, expected 1 (its id in the vocabulary)");
  json = small_json();
  json["added_tokens"][1] = json["added_tokens"][0];
  EXPECT_EQ(message(json), "t.json: added_tokens[1]: token \"[CLS]\" is there twice");
  json = small_json();
  json["added_tokens"][1]["content"] = "";
  EXPECT_EQ(message(json), "t.json: added token \"\" (id 6) is empty");
  json = small_json();
  json.erase("model");
  EXPECT_EQ(message(json), "t.json: key \"model\" is missing");
  json = small_json();
  json["model"]["vocab"] = Json::array();
  EXPECT_EQ(message(json), "t.json: model.vocab: expected a non-empty object {\"token\": id}");
  EXPECT_EQ(message(Json::array()), "t.json: is array, expected an object");
  EXPECT_THAT(message(small_json(), "{"), HasSubstr("c.json"));
}

TEST(TokenizerJson, BrokenTextIsADataErrorWithAPlace) {
  EXPECT_THROW(read_tokenizer({.tokenizer_json = SourceText{"{\"model\": ", "t.json"}}), DataError);
  try {
    read_tokenizer({.tokenizer_json = SourceText{R"({"model": {"vocab": {"a": 0, "a": 1}}})", "t.json"}});
    FAIL() << "a token twice is a duplicate key";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("t.json"));
  }
}

}  // namespace
}  // namespace peft::text
