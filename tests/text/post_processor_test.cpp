#include "src/text/post_processor.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "peft/base/error.h"
#include "tests/text/unsupported.h"

namespace peft::text {
namespace {

PostProcessor make(const std::string& text) {
  const Json json = Json::parse(text);
  return make_post_processor(JsonSection(json, "t.json", "post_processor"), 10);
}

std::string message(const std::string& text) {
  try {
    make(text);
  } catch (const DataError& error) {
    return error.what();
  }
  return "no error";
}

std::string print(const Template& pieces) {
  std::string out;
  for (const TemplatePiece& piece : pieces) {
    out += piece.kind == TemplatePiece::Kind::first_text    ? "A"
           : piece.kind == TemplatePiece::Kind::second_text ? "B"
                                                            : "";
    for (const int32_t id : piece.ids) out += fmt::format("{},", id);
    out += fmt::format(":{} ", piece.type);
  }
  return out;
}

std::string with_template(const std::string& single, const std::string& pair) {
  return R"({"type": "TemplateProcessing", "single": [)" + single + R"(], "pair": [)" + pair +
         R"(], "special_tokens": {"S": {"id": "S", "ids": [3, 4], "tokens": ["s", "t"]}}})";
}
constexpr auto kA = R"({"Sequence": {"id": "A", "type_id": 0}})";
constexpr auto kBothTexts = R"({"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 2}})";

TEST(PostProcessor, TemplateOfAnyShape) {
  const PostProcessor result = make(with_template(
      R"({"SpecialToken": {"id": "S", "type_id": 1}}, {"Sequence": {"id": "A", "type_id": 0}})", kBothTexts));
  EXPECT_EQ(print(result.single), "3,4,:1 A:0 ");
  EXPECT_EQ(print(result.pair), "A:0 B:2 ");
  EXPECT_EQ(count_special(result.single), 2);
  EXPECT_EQ(count_special(result.pair), 0);
}

TEST(PostProcessor, Bert) {
  const PostProcessor result = make(R"({"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]})");
  EXPECT_EQ(print(result.single), "1,:0 A:0 2,:0 ");
  EXPECT_EQ(print(result.pair), "1,:0 A:0 2,:0 B:1 2,:1 ");
}

TEST(PostProcessor, AbsentJoinsTheTexts) {
  EXPECT_EQ(print(PostProcessor().single), "A:0 ");
  EXPECT_EQ(print(PostProcessor().pair), "A:0 B:1 ");
}

TEST(PostProcessor, ErrorsNameTheKey) {
  EXPECT_EQ(message(R"({"type": "Nothing"})"), unsupported("post_processor", post_processors().names()));
  EXPECT_EQ(message(with_template(R"({"SpecialToken": {"id": "T", "type_id": 1}})", kBothTexts)),
            "t.json: post_processor.special_tokens: key \"T\" is missing");
  EXPECT_EQ(message(with_template(R"({"Sequence": {"id": "C", "type_id": 1}})", kBothTexts)),
            "t.json: post_processor.single[0].Sequence: id \"C\", expected A or B");
  EXPECT_EQ(message(with_template("", kBothTexts)), "t.json: post_processor.single: expected sequence A once and no B");
  EXPECT_EQ(message(with_template(kA, kA)), "t.json: post_processor.pair: expected sequences A and B once each");
  EXPECT_EQ(message(R"({"type": "BertProcessing", "sep": ["[SEP]", 10], "cls": ["[CLS]", 1]})"),
            "t.json: post_processor.sep[1]: is 10, expected an integer from 0 to 9");
  EXPECT_EQ(message(R"({"type": "BertProcessing", "sep": ["[SEP]"], "cls": ["[CLS]", 1]})"),
            "t.json: post_processor.sep: expected [\"token\", id]");
}

}  // namespace
}  // namespace peft::text
