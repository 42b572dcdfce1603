#include "src/text/vocabulary.h"

#include <gtest/gtest.h>

#include "peft/base/error.h"

namespace peft::text {
namespace {

Vocabulary from_json(const std::string& text) {
  const Json json = Json::parse(text);
  return Vocabulary::from_json(JsonSection(json, "t.json", "model.vocab"));
}

template <class Make>
std::string message(Make make) {
  try {
    make();
  } catch (const DataError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Vocabulary, JsonGivesTheIds) {
  const Vocabulary vocabulary = from_json(R"({"b": 0, "a": 2, "c": 1})");
  EXPECT_EQ(vocabulary.size(), 3);
  EXPECT_EQ(vocabulary.find("a"), 2);
  EXPECT_EQ(vocabulary.token(0), "b");
  EXPECT_EQ(vocabulary.find("d"), std::nullopt);
}

TEST(Vocabulary, JsonIdsHaveNoHolesAndNoDuplicates) {
  EXPECT_EQ(message([] { from_json(R"({"a": 0, "b": 2})"); }),
            "t.json: model.vocab: \"b\" has id 2, but 2 tokens must have the ids 0 to 1 without holes");
  EXPECT_EQ(message([] { from_json(R"({"a": 0, "b": 0})"); }), "t.json: model.vocab: \"a\" and \"b\" both have id 0");
  EXPECT_EQ(message([] { from_json(R"({"a": -1})"); }),
            "t.json: model.vocab.a: is -1, expected an integer from 0 to 2147483647");
  EXPECT_EQ(message([] { from_json(R"({"a": 18446744073709551615})"); }),
            "t.json: model.vocab.a: is 18446744073709551615, expected an integer from 0 to 2147483647");
  EXPECT_EQ(message([] { from_json(R"({"a": "0"})"); }),
            "t.json: model.vocab.a: is string, expected an integer from 0 to 2147483647");
  EXPECT_EQ(message([] { from_json("{}"); }), "t.json: model.vocab: expected a non-empty object {\"token\": id}");
}

TEST(Vocabulary, LinesNumberFromZero) {
  const Vocabulary vocabulary = Vocabulary::from_lines("a\r\n\n b\nc \nc\xE3\x80\x80\n", "v.txt");
  EXPECT_EQ(vocabulary.size(), 5);
  EXPECT_EQ(vocabulary.find("a"), 0);
  EXPECT_EQ(vocabulary.find(""), 1);
  EXPECT_EQ(vocabulary.find(" b"), 2);
  EXPECT_EQ(vocabulary.find("c"), 3) << "white space at the end of a line goes";
  EXPECT_EQ(vocabulary.find("c\xE3\x80\x80"), 4) << "unless the token would be another one's";
}

TEST(Vocabulary, LinesMustBeDistinctUtf8) {
  EXPECT_EQ(message([] { Vocabulary::from_lines("a\nb\na\n", "v.txt"); }), "v.txt:3: token \"a\" is already in line 1");
  EXPECT_EQ(message([] { Vocabulary::from_lines("a\nb\xFF\n", "v.txt"); }), "v.txt:2: byte 2: invalid UTF-8 (0xff)");
  EXPECT_EQ(message([] { Vocabulary::from_lines("", "v.txt"); }), "v.txt: no tokens, expected one a line");
}

}  // namespace
}  // namespace peft::text
