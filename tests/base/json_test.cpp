#include "peft/base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <stdexcept>

#include "peft/base/error.h"

namespace peft {
namespace {

std::string error_of(std::string_view text, JsonComments comments = JsonComments::refuse) {
  try {
    parse_json(text, "x.json", comments);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "accepted";
}

TEST(ParseJson, ReadsEveryKindOfValue) {
  const Json json =
      parse_json(R"({"a": [1, -2.5, 1e3, true, false, null, "s\u00e9\ud83d\ude00\n"], "b": {}})", "x.json");
  EXPECT_EQ(json["a"][0], 1);
  EXPECT_TRUE(json["a"][0].is_number_integer());
  EXPECT_EQ(json["a"][1], -2.5);
  EXPECT_EQ(json["a"][2], 1000.0);
  EXPECT_EQ(json["a"][3], true);
  EXPECT_TRUE(json["a"][5].is_null());
  EXPECT_EQ(json["a"][6], "sé😀\n");
  EXPECT_EQ(json["b"], Json::object());
}

TEST(ParseJson, ReadsBareValuesNestedListsAndAByteOrderMark) {
  EXPECT_EQ(parse_json(" 3 ", "x.json"), 3);
  EXPECT_EQ(parse_json("[[1], [[2, [3]], 4], []]", "x.json").dump(), "[[1],[[2,[3]],4],[]]");
  EXPECT_EQ(parse_json(R"([{"a": {"b": [{}]}}, {"a": 2}])", "x.json").dump(), R"([{"a":{"b":[{}]}},{"a":2}])");
  EXPECT_EQ(parse_json("\xEF\xBB\xBF{}", "x.json"), Json::object());
}

TEST(ParseJson, KeepsIntegersExactUpToTheirLimits) {
  EXPECT_EQ(parse_json("-9223372036854775808", "x").get<int64_t>(), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(parse_json("18446744073709551615", "x").get<uint64_t>(), std::numeric_limits<uint64_t>::max());
}

TEST(ParseJson, NamesLineAndColumnOfADuplicateKey) {
  EXPECT_EQ(error_of("{\n  \"a\": 1,\n  \"a\": 2\n}"), "x.json:3: column 3: duplicate key \"a\"");
  EXPECT_EQ(error_of(R"({"a": {"b": 1, "c": 2, "b": 3}})"), "x.json: column 24: duplicate key \"b\"");
  EXPECT_EQ(error_of(R"({"q\"\\": 1, "q\"\\": 2})"), R"(x.json: column 14: duplicate key "q\"\\")");
}

TEST(ParseJson, DuplicatesAreJudgedAfterUnescaping) {
  EXPECT_EQ(error_of(R"({"a": 1, "\u0061": 2})"), "x.json: column 10: duplicate key \"a\"");
}

TEST(ParseJson, SameKeyInDifferentObjectsIsNoDuplicate) {
  EXPECT_EQ(error_of(R"({"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]})"), "accepted");
}

TEST(ParseJson, ColumnsCountCharactersNotBytes) {
  EXPECT_EQ(error_of("{\"é\": x}"), "x.json: column 7: invalid literal");
}

TEST(ParseJson, TellsWhatWasExpected) {
  EXPECT_EQ(error_of("{\"a\" 1}"), "x.json: column 6: unexpected number literal; expected ':'");
  EXPECT_EQ(error_of("[1, 2\n"), "x.json:2: column 1: unexpected end of input; expected ']'");
  EXPECT_EQ(error_of("{} {}"), "x.json: column 4: unexpected '{'; expected end of input");
  EXPECT_THAT(error_of(""), testing::StartsWith("x.json: column 1: "));
}

TEST(ParseJson, ALineOfAFileKeepsItsNumberInTheOrigin) {
  EXPECT_THROW(
      try { parse_json("[1,]", "d.jsonl:118"); } catch (const std::invalid_argument& error) {
        EXPECT_THAT(error.what(), testing::StartsWith("d.jsonl:118: column 4: unexpected ']'"));
        throw;
      },
      std::invalid_argument);
}

TEST(ParseJson, RefusesWhatTheStandardRefuses) {
  for (const char* text : {"NaN",
                           "Infinity",
                           "-Infinity",
                           "[1,]",
                           "{\"a\":1,}",
                           "01",
                           "1.",
                           ".5",
                           "+1",
                           "'a'",
                           "{a:1}",
                           "tru",
                           "\"a\nb\"",
                           "\"\\x\"",
                           "1e999",
                           "-1e999",
                           "\"\\ud800\"",
                           "\"\\udc00\"",
                           "\"\\ud800x\"",
                           "\"\\ud800\\u0041\"",
                           "\"\xff\"",
                           "\"\xc0\x80\"",
                           "\"\xed\xa0\x80\"",
                           "\"\xf4\x90\x80\x80\"",
                           "\"\xe2\x82\"",
                           "\"abc",
                           "[",
                           "{",
                           "{}x",
                           "//",
                           "/* */ 1",
                           "\xEF\xBB"}) {
    EXPECT_NE(error_of(text), "accepted") << text;
  }
}

TEST(ParseJson, ANulCharacterDoesNotHideWhatFollows) {
  EXPECT_EQ(error_of(std::string_view("1\0 x", 4)), "x.json: column 2: unexpected NUL character");
  EXPECT_EQ(error_of(std::string_view("1\0", 2)), "x.json: column 2: unexpected NUL character");
  EXPECT_EQ(error_of(R"("\u0000")"), "accepted");
}

TEST(ParseJson, NestsSixtyFourDeepAndNoDeeper) {
  const auto nested = [](int depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_EQ(error_of(nested(64)), "accepted");
  EXPECT_EQ(error_of(nested(65)), "x.json: column 65: nested deeper than 64");
  EXPECT_EQ(error_of(std::string(1000000, '[')), "x.json: column 65: nested deeper than 64");
  std::string objects;
  for (int i = 0; i < 65; ++i) objects += "{\"a\":";
  EXPECT_EQ(error_of(objects), "x.json: column 321: nested deeper than 64");
}

TEST(ParseJson, MessagesStayShortAndPrintable) {
  const std::string message = error_of("\"" + std::string(5000, 'a') + "\xff\"");
  EXPECT_LT(message.size(), 200U);
  for (const char c : message) EXPECT_TRUE(c >= ' ' && c <= '~') << message;
  EXPECT_LT(error_of(std::string(5000, '1')).size(), 200U);
}

TEST(ParseJson, AllowsLineCommentsOnlyWhereAsked) {
  const char* text = "{ // first\n  \"a\": \"http://x\\\"//y\", // second \"\n  \"b\": 2\n} // end";
  EXPECT_EQ(parse_json(text, "x.json", JsonComments::allow), Json({{"a", "http://x\"//y"}, {"b", 2}}));
  EXPECT_NE(error_of(text), "accepted");
  EXPECT_NE(error_of("/* block */ 1", JsonComments::allow), "accepted");
}

TEST(ParseJson, CommentsDoNotShiftPositions) {
  EXPECT_EQ(error_of("// é\n{ // é\n  \"a\": 1, \"a\": 2 // é\n}", JsonComments::allow),
            "x.json:3: column 11: duplicate key \"a\"");
}

TEST(ReadJsonFile, ThrowsTheErrorOfItsAudience) {
  const std::string path = testing::TempDir() + "read_json_file.json";
  EXPECT_THROW(read_json_file<ConfigError>(path + ".absent"), ConfigError);
  EXPECT_THROW(read_json_file<DataError>(path + ".absent"), DataError);
  std::ofstream(path) << "{\"a\": }";
  EXPECT_THROW(read_json_file<ConfigError>(path), ConfigError);
  EXPECT_THROW(read_json_file<DataError>(path), DataError);
  std::ofstream(path) << "{\"a\": 1} // why\n";
  EXPECT_THROW(read_json_file<DataError>(path), DataError);
  EXPECT_EQ(read_json_file<ConfigError>(path, JsonComments::allow), Json({{"a", 1}}));
}

TEST(ToPrettyString, SortsKeysIndentsByTwoAndEndsTheLine) {
  EXPECT_EQ(to_pretty_string({{"b", {1, 2.5}}, {"a", "é"}}),
            "{\n  \"a\": \"é\",\n  \"b\": [\n    1,\n    2.5\n  ]\n}\n");
}

TEST(ToPrettyString, RoundTripsDoubles) {
  for (const double value : {0.1, 1e-8, 1.0 / 3, 5e-324, 1.7976931348623157e308, 3.0}) {
    EXPECT_EQ(parse_json(to_pretty_string(value), "x").get<double>(), value);
  }
}

}  // namespace
}  // namespace peft
