#include "src/text/normalizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "peft/base/error.h"
#include "tests/text/unsupported.h"

namespace peft::text {
namespace {

std::string normalized(const std::string& json, std::string_view text) {
  const Json value = Json::parse(json);
  std::string out;
  make_normalizer(JsonSection(value, "t.json", "normalizer"))->normalize(text, out);
  return out;
}

std::string message(const std::string& json) {
  try {
    normalized(json, "");
  } catch (const DataError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Normalizer, NfdDecomposesAndOrdersMarks) {
  EXPECT_EQ(normalized(R"({"type": "NFD"})", "é"), "e\xCC\x81");
  EXPECT_EQ(normalized(R"({"type": "NFD"})", "a\xCC\x81\xCC\xA3"), "a\xCC\xA3\xCC\x81");  // class 220 before 230
}

TEST(Normalizer, SequenceRunsInOrder) {
  EXPECT_EQ(normalized(R"({"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"},
                           {"type": "Lowercase"}]})",
                       "ÉÀ"),
            "ea");
  EXPECT_EQ(normalized(R"({"type": "Sequence", "normalizers": []})", "É"), "É");
}

TEST(Normalizer, BertOptionsAreRead) {
  EXPECT_EQ(normalized(R"({"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                           "strip_accents": null, "lowercase": true})",
                       "É漢"),
            "e 漢 ");
}

TEST(Normalizer, ErrorsNameTheKey) {
  EXPECT_EQ(message(R"({"type": "Nothing"})"), unsupported("normalizer", normalizers().names()));
  EXPECT_EQ(message(R"({})"), "t.json: normalizer: key \"type\" is missing");
  EXPECT_EQ(message(R"([])"), "t.json: normalizer: is array, expected an object");
  EXPECT_EQ(message(R"({"type": "BertNormalizer", "clean_text": 1})"),
            "t.json: normalizer.clean_text: is number, expected true or false");
  EXPECT_EQ(message(R"({"type": "Sequence", "normalizers": [{"type": "NFD"}, 3]})"),
            "t.json: normalizer.normalizers[1]: is number, expected an object");
}

}  // namespace
}  // namespace peft::text
